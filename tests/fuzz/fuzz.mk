# Fuzzing; see docs/fuzzing.md. Included by the Makefile of the repository.
.PHONY: fuzz

fuzz: setup ## Any octets into every decoder, guided by coverage: 60 s for each target (SECONDS=600, TARGET=frames INPUT=file)
	@$(PYTHON) -c 'import atheris' 2>/dev/null || { echo "fuzz needs atheris, which has packages for Linux on x86-64 and Python 3.11 to 3.13"; exit 2; }
	@PYTHONPATH=.:netns-lab $(PYTHON) -m $(if $(INPUT),tests.fuzz $(TARGET) 0 $(INPUT),tests.fuzz.campaign $(or $(SECONDS),60) $(TARGET))
