# make help   lists what there is. `make lab` and `make test` set up everything they need by themselves.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON3 ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
PYTHON := $(VENV)/bin/python
CACHE ?= $(HOME)/.cache/l2announce
export CACHE
export PIP_CACHE_DIR := $(CACHE)/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The Kubernetes release of control plane and lab: 1.37, or 1.36.
export KUBERNETES ?= 1.37
BUILD_CONTROL_PLANE := PYTHON=$(PYTHON) netns-lab/control-plane/build

# program=Debian package; what the tests and the lab run in namespaces.
TOOLS := ip=iproute2 nft=nftables arping=iputils-arping ndisc6=ndisc6 tcpdump=tcpdump tshark=tshark unshare=util-linux crun=crun \
    /usr/share/containers/seccomp.json=golang-github-containers-common

CORE := l2announce/wire/*,l2announce/model/*,l2announce/responder/*,l2announce/control/*,l2announce/ipam/*

.PHONY: help setup tools check lint types layers test forecast unit netns control-plane apiserver clean

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(VENV)/.done ## The program at .venv/bin/l2announce, with every dependency pinned
$(VENV)/.done: requirements.lock pyproject.toml
	@test -n "$(PYTHON3)" || { echo "needs Python 3.11 or newer: apt-get install python3, or set PYTHON3=/path/to/it"; exit 2; }
	@echo "setup: installing the locked Python packages into $(VENV) (about a minute the first time)"
	@test -x $(PYTHON) || $(PYTHON3) -m venv $(VENV) || { echo "needs the venv module: apt-get install python3-venv"; exit 2; }
	@$(PYTHON) -m pip install --quiet --require-hashes -r requirements.lock
	@$(PYTHON) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

tools: ## The programs that tests and lab run; installed by apt when you are root
	@missing=""; for tool in $(TOOLS); do PATH="$$PATH:/usr/sbin:/sbin" command -v "$${tool%%=*}" >/dev/null || test -f "$${tool%%=*}" || missing="$$missing $${tool#*=}"; done; \
	if [ -n "$$missing" ]; then \
	    if [ "$$(id -u)" = 0 ]; then \
	        echo "tools: installing the Debian packages$$missing"; \
	        export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	    else echo "these programs are missing; run: sudo apt-get install$$missing"; exit 2; fi; \
	fi

test: forecast setup tools check unit monitoring chart docs netns apiserver ## Everything: linters, types, layers, unit, property, simulation, golden, namespaces, API server

forecast:
	@echo "test: about twenty minutes on two cores"
	@$(BUILD_CONTROL_PLANE) --forecast

check: lint types layers ## Linters, types and the import rules
lint: setup
	@echo "lint: ruff"
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --quiet --check .
types: setup
	@echo "types: mypy --strict"
	@$(VENV)/bin/mypy --no-error-summary
layers: setup
	@echo "layers: import-linter"
	@$(VENV)/bin/lint-imports --no-logo >/dev/null || $(VENV)/bin/lint-imports

unit: setup ## The tests that need no namespace; the core must be covered to its last branch
	@echo "unit: unit, property and golden tests"
	@$(PYTHON) -m pytest -q -m "not netns and not apiserver and not chart" --cov --cov-report= --ignore tests/simulation tests
	@$(VENV)/bin/coverage report --include="$(CORE)" --fail-under=100 --skip-covered
	@echo "unit: simulation, in virtual time"
	@PYTHONHASHSEED=0 $(PYTHON) -m pytest -q --timeout 300 tests/simulation

netns: setup tools ## The tests with real kernels as peers
	@echo "netns: tests in network namespaces"
	@netns-lab/enter $(PYTHON) -m pytest -q -m "netns and not apiserver" tests

control-plane: setup ## A Kubernetes control plane for tests and lab: five to ten minutes the first time; KUBEBUILDER_ASSETS is used when set
	@$(BUILD_CONTROL_PLANE) >/dev/null

apiserver: setup tools control-plane ## The tests on a real API server, with agents in namespaces (KUBERNETES=1.36: on the release before)
	@echo "apiserver: tests on $${KUBEBUILDER_ASSETS:-Kubernetes $(KUBERNETES)}"
	@netns-lab/enter $(PYTHON) -m pytest -q -m apiserver tests

clean: ## Remove what the build and the tests made here
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage netns-lab/out benchmarks/out

-include deploy/monitoring.mk deploy/chart.mk docs/docs.mk netns-lab/lab.mk benchmarks/bench.mk benchmarks/scale.mk tests/golden/golden.mk tests/fuzz/fuzz.mk
