# Benchmarks. `make bench` measures the program beside the kernel (docs/performance.md), `make bench QUICK=1` in under 90 seconds;
# `make bench-core` times the core alone. Included by the Makefile, which defines PYTHON and the target `setup`.
PYTHON ?= .venv/bin/python
BENCH_FLAGS = $(if $(QUICK),--quick) $(foreach case,$(CASE),--only '$(case)')
CORE_FLAGS = $(if $(QUICK),--processes 2 --values 2 --warmups 1,--processes 5 --values 3)

.PHONY: bench bench-core
bench: setup tools ## The program beside the kernel: about five minutes; QUICK=1 for 90 seconds, CASE=flood for one case
	@command -v cc >/dev/null || { [ "$$(id -u)" = 0 ] && { echo "bench: installing the Debian packages gcc libc6-dev"; \
	    apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends gcc libc6-dev >/dev/null; }; } || \
	    { echo "bench needs a C compiler: sudo apt-get install gcc libc6-dev"; exit 2; }
	@PYTHONPATH=netns-lab:. netns-lab/enter $(PYTHON) -m benchmarks.harness $(BENCH_FLAGS)

bench-core: setup ## The core alone, by pyperf
	@mkdir -p benchmarks/out
	@rm -f benchmarks/out/core.json
	@PYTHONPATH=. $(PYTHON) benchmarks/core.py $(CORE_FLAGS) --inherit-environ PYTHONPATH --output benchmarks/out/core.json
