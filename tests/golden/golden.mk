# The golden corpus; included by the Makefile of the repository.
.PHONY: golden-update

golden-update: setup ## Rebuild tests/golden from its cases and show what changed
	@$(PYTHON) -m tests.golden.build
	@git --no-pager diff --stat -- tests/golden
	@git --no-pager diff --unified=0 -- 'tests/golden/*/verdicts.txt'
	@git ls-files --others --exclude-standard --directory -- tests/golden | sed 's/^/new: /'
