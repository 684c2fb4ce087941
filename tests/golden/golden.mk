# The golden corpus; included by the Makefile of the repository.
.PHONY: golden-update docs-update

golden-update: setup ## Rebuild tests/golden from its cases and show what changed
	@$(PYTHON) -m tests.golden.build
	@$(PYTHON) -m tests.golden.wire_page
	@git --no-pager diff --stat -- tests/golden
	@git --no-pager diff --unified=0 -- 'tests/golden/*/verdicts.txt'
	@git ls-files --others --exclude-standard --directory -- tests/golden | sed 's/^/new: /'

docs-update: setup ## Rewrite the tables of docs/wire.md from the code and show what changed
	@$(PYTHON) -m tests.golden.wire_page
	@git --no-pager diff --unified=0 -- docs/wire.md
