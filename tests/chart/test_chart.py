"""The Helm chart: what it renders from which values, which values it refuses, and that nothing in it has drifted from its source."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from netlab.topology import REPOSITORY
from typer.main import get_command

from l2announce.cli.main import app

pytestmark = pytest.mark.chart

CHART = REPOSITORY / "deploy" / "chart" / "l2announce"
Documents = dict[tuple[str, str], Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = os.environ.get("HELM", "helm")
    return subprocess.run((program, *arguments), capture_output=True, text=True, check=False)


def render(*values: str, namespace: str = "kube-system") -> Documents:
    """The objects that the chart renders, by kind and name. ``values`` are KEY=VALUE, as JSON."""
    flags = [flag for value in values for flag in ("--set-json", value)]
    rendered = helm("template", "l2announce", str(CHART), "--namespace", namespace, *flags)
    assert rendered.returncode == 0, rendered.stderr
    return by_name(rendered.stdout)


def by_name(text: str) -> Documents:
    return {(document["kind"], document["metadata"]["name"]): document for document in yaml.safe_load_all(text) if document}


def pod(documents: Documents) -> Any:
    return documents["DaemonSet", "l2announce"]["spec"]["template"]["spec"]


def control(documents: Documents) -> Any:
    (container,) = pod(documents)["containers"]
    return container


def responder(documents: Documents) -> Any:
    (container,) = pod(documents)["initContainers"]
    return container


def flags(documents: Documents) -> dict[str, str]:
    """The arguments of the agent, by flag; of one that is repeated, the last."""
    return dict(argument.removeprefix("--").split("=", 1) for argument in control(documents)["args"])


def test_the_copies_are_those_of_their_sources() -> None:
    for copy, source in (
        ("crds/ciliuml2announcementpolicies.yaml", "policies/crds/ciliuml2announcementpolicies.yaml"),
        ("crds/ciliumloadbalancerippools.yaml", "policies/crds/ciliumloadbalancerippools.yaml"),
        ("files/rbac.yaml", "policies/rbac.yaml"),
        ("files/rbac-operator.yaml", "policies/rbac-operator.yaml"),
        ("files/alerts.yaml", "deploy/monitoring/alerts.yaml"),
    ):
        assert (CHART / copy).read_text() == (REPOSITORY / source).read_text(), "make manifest"


@pytest.mark.parametrize(
    ("name", "crd", "values"),
    [
        ("l2announce", "ciliuml2announcementpolicies", ()),
        ("l2announce-operator", "ciliumloadbalancerippools", ("operator.enabled=true",)),
    ],
)
def test_the_plain_manifests_are_what_the_chart_renders(name: str, crd: str, values: tuple[str, ...]) -> None:
    plain = by_name((REPOSITORY / "deploy" / f"{name}.yaml").read_text())
    rendered = {key: document for key, document in render(*values).items() if not values or key not in render()}
    assert plain.pop(("CustomResourceDefinition", f"{crd}.cilium.io")) == yaml.safe_load((CHART / "crds" / f"{crd}.yaml").read_text())
    for document in rendered.values():
        document["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
        if "template" in document.get("spec", {}):
            document["spec"]["template"]["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
    assert plain == rendered, "make manifest"


def operator(documents: Documents) -> Any:
    """The Deployment's Pod."""
    return documents["Deployment", "l2announce-operator"]["spec"]["template"]["spec"]


def test_the_operator_is_there_when_it_is_asked_for() -> None:
    assert not [name for _, name in render() if "operator" in name]
    documents = render("operator.enabled=true", 'operator.serviceAccount.name="ipam"', 'leaseNamespace="leases"', namespace="system")
    source = by_name((REPOSITORY / "policies" / "rbac-operator.yaml").read_text())
    for kind in ("ClusterRole", "Role"):
        assert documents[kind, "l2announce-operator"]["rules"] == source[kind, "l2announce-operator"]["rules"]
        assert documents[f"{kind}Binding", "l2announce-operator"]["subjects"] == [
            {"kind": "ServiceAccount", "name": "ipam", "namespace": "system"}
        ]
    assert documents["Role", "l2announce-operator"]["metadata"]["namespace"] == "leases"
    assert operator(documents)["serviceAccountName"] == "ipam"
    assert ("ServiceAccount", "ipam") in documents
    agents = documents["DaemonSet", "l2announce"]["spec"]["selector"]["matchLabels"].items()
    assert not agents <= documents["Deployment", "l2announce-operator"]["spec"]["template"]["metadata"]["labels"].items()


def test_the_operator_may_do_what_it_needs_and_no_more() -> None:
    documents = render("operator.enabled=true")
    (container,) = operator(documents)["containers"]
    assert "hostNetwork" not in operator(documents)
    assert operator(documents)["securityContext"]["runAsNonRoot"]
    assert operator(documents)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_every_flag_is_one_of_the_operator_and_has_its_default() -> None:
    parameters = {parameter.opts[0].removeprefix("--"): parameter for parameter in get_command(app).commands["operator"].params}  # type: ignore[attr-defined]
    (container,) = operator(render("operator.enabled=true"))["containers"]
    rendered = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    for flag, value in rendered.items():
        if flag not in {"metrics-address", "log-format"}:
            default = parameters[flag].default
            assert value == str(getattr(default, "value", default)), flag
    (container,) = operator(
        render(
            "operator.enabled=true", 'operator.metrics={"host":"::","port":9000}', 'operator.ipFamilies=["IPv6"]',
            'operator.defaultLBServiceIPAM="none"', 'operator.extraArgs=["--lease-duration=9s"]',
        )
    )["containers"]  # fmt: skip
    wanted = {"--metrics-address=[::]:9000", "--ip-families=IPv6", "--default-lb-service-ipam=none", "--lease-duration=9s"}
    assert wanted <= set(container["args"])


def test_the_rights_are_those_of_the_policies_directory() -> None:
    source = by_name((REPOSITORY / "policies" / "rbac.yaml").read_text())
    rendered = render('leaseNamespace="leases"', 'serviceAccount.name="other"', namespace="system")
    for kind in ("ClusterRole", "Role"):
        assert rendered[kind, "l2announce"]["rules"] == source[kind, "l2announce"]["rules"]
        binding = rendered[f"{kind}Binding", "l2announce"]
        assert binding["roleRef"] == source[f"{kind}Binding", "l2announce"]["roleRef"]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "other", "namespace": "system"}]
    assert (
        rendered["Role", "l2announce"]["metadata"]["namespace"]
        == rendered["RoleBinding", "l2announce"]["metadata"]["namespace"]
        == "leases"
    )
    assert not [kind for kind, _ in render("rbac.create=false") if kind.startswith(("Role", "Cluster"))]


def test_every_flag_is_one_of_the_agent_and_has_its_default() -> None:
    parameters = {parameter.opts[0].removeprefix("--"): parameter for parameter in get_command(app).commands["agent"].params}  # type: ignore[attr-defined]
    rendered = flags(render())
    assert rendered.keys() <= parameters.keys()
    for flag, value in rendered.items():
        if flag not in {"responder-socket", "log-format"}:
            default = parameters[flag].default
            assert value == str(getattr(default, "value", default)), flag


def test_values_become_flags() -> None:
    documents = render(
        'l2announcements={"leaseDuration":"3s","leaseRenewDeadline":"1s","leaseRetryPeriod":"300ms"}',
        'leaseMode="node"', 'devices=["^eth0$","^bond[0-9]$"]', 'onApiLoss="hold"', "answerLimit=1000000", 'extraArgs=["--context=x"]',
        'metrics={"host":"::","port":9000}',
    )  # fmt: skip
    found = flags(documents)
    wanted = {
        "lease-duration": "3s", "lease-renew-deadline": "1s", "lease-retry-period": "300ms", "lease-mode": "node", "on-api-loss": "hold",
        "answer-limit": "1000000", "context": "x", "metrics-address": "[::]:9000",
    }  # fmt: skip
    assert {flag: found[flag] for flag in wanted} == wanted
    assert [argument for argument in control(documents)["args"] if "devices" in argument] == ["--devices=^eth0$", "--devices=^bond[0-9]$"]
    assert control(documents)["livenessProbe"]["httpGet"] == {"host": "::1", "port": 9000, "path": "/livez"}
    assert control(documents)["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_each_container_may_do_what_it_needs_and_no_more() -> None:
    documents = render()
    assert pod(documents)["hostNetwork"]
    assert pod(documents)["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert pod(documents)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(documents)["priorityClassName"] == "system-node-critical"
    assert not pod(documents)["automountServiceAccountToken"]
    for container in (control(documents), responder(documents)):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert "privileged" not in context
    assert responder(documents)["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}
    assert control(documents)["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert control(documents)["securityContext"]["runAsNonRoot"]
    assert [mount["name"] for mount in responder(documents)["volumeMounts"]] == ["responder"], "no token for who reads strangers' frames"
    assert "token" in [mount["name"] for mount in control(documents)["volumeMounts"]]
    assert responder(documents)["restartPolicy"] == "Always", "it starts before control, and ends after it"
    assert pod(documents)["terminationGracePeriodSeconds"] > 2


def test_monitoring_is_there_when_it_is_asked_for() -> None:
    assert not [kind for kind, _ in render() if kind in ("PodMonitor", "PrometheusRule")]
    documents = render(
        "podMonitor.enabled=true", 'metrics.host="0.0.0.0"', "prometheusRule.enabled=true", 'prometheusRule.labels={"a":"b"}'
    )
    assert documents["PodMonitor", "l2announce"]["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"
    assert ("PodMonitor", "l2announce-operator") not in documents
    with_operator = render("podMonitor.enabled=true", 'metrics.host="0.0.0.0"', "operator.enabled=true")
    labels = with_operator["Deployment", "l2announce-operator"]["spec"]["template"]["metadata"]["labels"]
    assert with_operator["PodMonitor", "l2announce-operator"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    rules = yaml.safe_load((REPOSITORY / "deploy" / "monitoring" / "alerts.yaml").read_text())
    assert documents["PrometheusRule", "l2announce"]["spec"] == rules
    assert documents["PrometheusRule", "l2announce"]["metadata"]["labels"]["a"] == "b"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("leaseduration=1", "additional properties 'leaseduration' not allowed"),
        ('leaseMode="both"', "leaseMode"),
        ('l2announcements.leaseDuration="15"', "leaseDuration"),
        ("l2announcements.enabled=true", "additional properties 'enabled' not allowed"),
        ("metrics.port=0", "port"),
        ("answerLimit=-1", "answerLimit"),
        ('extraArgs=["devices"]', "extraArgs"),
        ('image.digest="latest"', "digest"),
        ("terminationGracePeriodSeconds=1", "terminationGracePeriodSeconds"),
        ("operator.replicas=0", "replicas"),
        ('operator.ipFamilies=["IPv5"]', "ipFamilies"),
        ('operator.defaultLBServiceIPAM="metallb"', "defaultLBServiceIPAM"),
        ("operator.enable=true", "additional properties 'enable' not allowed"),
        ("podMonitor.enabled=true", "set metrics.host to 0.0.0.0 or ::"),
    ],
)
def test_wrong_values_are_refused_by_name(value: str, words: str, tmp_path: Path) -> None:
    refused = helm("template", "l2announce", str(CHART), "--set-json", value, "--output-dir", str(tmp_path))
    assert refused.returncode != 0
    assert words in refused.stderr


def test_the_image_by_tag_or_digest() -> None:
    assert control(render())["image"] == responder(render())["image"] == "l2announce:0.1.0"
    digest = "sha256:" + "0" * 64
    assert control(render('image.repository="registry.example/l2announce"', f'image.digest="{digest}"'))["image"] == (
        f"registry.example/l2announce@{digest}"
    )


@pytest.mark.parametrize("name", ["answerLimit", "nodeGrace", "l2announcements.leaseDuration"])
def test_a_value_that_is_missing_is_refused_by_its_flag(name: str) -> None:
    """As an upgrade that reuses old values would have it."""
    refused = helm("template", "l2announce", str(CHART), "--set", f"{name}=null")
    assert refused.returncode != 0
    assert "is missing" in refused.stderr or name.rpartition(".")[2] in refused.stderr
