# Alert rules, checked by promtool. Included by the Makefile.
.PHONY: monitoring
monitoring: ## The alert rules: checked, and each fired, by promtool
	@echo "monitoring: promtool on the alert rules"
	@promtool="$$(deploy/monitoring/get-promtool)"; cd deploy/monitoring; \
	"$$promtool" check rules --lint=all --lint-fatal alerts.yaml >/dev/null && "$$promtool" test rules alerts_test.yaml >/dev/null
