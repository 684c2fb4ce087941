# What agents cost on a real API server (docs/scale.md): `make scale`, `make scale QUICK=1` in under two minutes, CASE=large for one case.
# Included by the Makefile, which defines PYTHON and the targets `setup`, `tools` and `control-plane`.
SCALE_FLAGS = $(if $(QUICK),--quick) $(foreach case,$(CASE),--only '$(case)')

.PHONY: scale
scale: setup tools control-plane ## What agents cost on a real API server: about ten minutes; QUICK=1 for two minutes
	@PYTHONPATH=netns-lab:. netns-lab/enter $(PYTHON) -m benchmarks.scale $(SCALE_FLAGS)
