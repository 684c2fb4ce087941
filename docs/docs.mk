# The documentation as a web site. Included by the Makefile.
DOCS := $(CACHE)/docs/$(shell sha256sum docs/requirements.lock | cut -c1-12)
.PHONY: docs reference
docs: $(DOCS)/.done ## The documentation as a web site in site/, every link and anchor checked
	@echo "docs: mkdocs, strict"
	@said="$$(NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict 2>&1)" || { echo "$$said"; exit 1; } # --quiet would not be strict

$(DOCS)/.done: docs/requirements.lock
	@test -n "$(PYTHON3)" || { echo "needs Python 3.11 or newer: apt-get install python3, or set PYTHON3=/path/to/it"; exit 2; }
	@echo "docs: installing mkdocs into $(DOCS)"
	@$(PYTHON3) -m venv $(DOCS)
	@$(DOCS)/bin/pip install --quiet --require-hashes -r docs/requirements.lock
	@touch $@

reference: setup ## Write the pages of docs/reference anew, from the code
	@$(PYTHON) -m l2announce.cli.reference docs/reference
