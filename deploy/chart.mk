# The Helm chart and the plain manifest that is rendered from it. Included by the Makefile.
CHART := deploy/chart/l2announce
.PHONY: chart manifest
chart: setup ## The Helm chart: linted, rendered, its values refused where they are wrong; the plain manifest is what it renders
	@echo "chart: helm lint, and the tests of the templates"
	@helm="$$($(PYTHON) deploy/get-helm)"; "$$helm" lint --strict --quiet $(CHART) && HELM="$$helm" $(PYTHON) -m pytest -q -m chart tests/chart

MANIFEST = "$$helm" template l2announce $(CHART) --namespace kube-system
TIDY = grep -v '^ *helm.sh/chart:\|managed-by: Helm$$'
manifest: setup ## Write deploy/*.yaml, and the chart's copies of what has its source elsewhere
	@cp policies/crds/*.yaml $(CHART)/crds/; cp policies/rbac*.yaml deploy/monitoring/alerts.yaml $(CHART)/files/
	@helm="$$($(PYTHON) deploy/get-helm)"; \
	{ echo "# Rendered from deploy/chart by: make manifest"; cat policies/crds/ciliuml2announcementpolicies.yaml; $(MANIFEST); } | $(TIDY) > deploy/l2announce.yaml; \
	{ echo "# LB-IPAM, beside l2announce.yaml. Rendered from deploy/chart by: make manifest"; cat policies/crds/ciliumloadbalancerippools.yaml; \
	$(MANIFEST) --set operator.enabled=true --show-only templates/operator.yaml; } | $(TIDY) > deploy/l2announce-operator.yaml

.PHONY: image
image: setup tools control-plane ## The image: built on Debian's packages, and installed on a real control plane (root; installs buildah and mmdebstrap)
	@[ "$$(id -u)" = 0 ] || { echo "make image needs root"; exit 2; }
	@command -v buildah mmdebstrap >/dev/null || { echo "image: installing buildah and mmdebstrap"; apt-get install -qq -y --no-install-recommends buildah mmdebstrap >/dev/null; }
	@PYTHON=$(PYTHON) deploy/try-image
