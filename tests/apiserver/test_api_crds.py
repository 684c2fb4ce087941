"""What the definition of the policies accepts and refuses, asked of a real API server.

The same corpus holds for Cilium's definition of the same name. Where its file is at hand, ``CILIUM_CRD=FILE`` runs it on that one too.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from netlab.control_plane import ControlPlane

from l2announce.errors import ApiError
from tests.apiserver.rig import CRDS, POLICIES, REPOSITORY, Admin, administrator, asynchronous, until_async

pytestmark = pytest.mark.apiserver

OURS = REPOSITORY / "policies" / "crds" / "ciliuml2announcementpolicies.yaml"
DEFINITIONS = [OURS, *(Path(path) for path in [os.environ.get("CILIUM_CRD")] if path)]

EXPRESSION = {"key": "zone", "operator": "In", "values": ["a"]}
ACCEPTED: list[dict[str, Any]] = [
    {},
    {"externalIPs": True, "loadBalancerIPs": False},
    {"interfaces": []},
    {"interfaces": ["^eth[0-9]+", "("]},
    {"nodeSelector": {}},
    {"nodeSelector": {"matchLabels": {"a": "", "example.com/b": "x" * 63}}},
    {"nodeSelector": {"matchExpressions": [EXPRESSION, {"key": "b", "operator": "Exists"}, {"key": "", "operator": "DoesNotExist"}]}},
    {"serviceSelector": {"matchExpressions": [{**EXPRESSION, "operator": "NotIn", "values": []}]}},
    {"serviceSelector": {"matchLabels": {"io.kubernetes.service.namespace": "default"}}},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"externalIPs": "yes"}, "spec.externalIPs"),
    ({"loadBalancerIPs": 1}, "spec.loadBalancerIPs"),
    ({"interfaces": "eth0"}, "spec.interfaces"),
    ({"interfaces": [7]}, "spec.interfaces[0]"),
    ({"nodeSelector": {"matchLabels": {"a": "x" * 64}}}, "spec.nodeSelector.matchLabels"),
    ({"nodeSelector": {"matchLabels": {"a": "-x"}}}, "spec.nodeSelector.matchLabels"),
    ({"nodeSelector": {"matchLabels": {"a": 7}}}, "spec.nodeSelector.matchLabels"),
    ({"nodeSelector": {"matchExpressions": [{**EXPRESSION, "operator": "Near"}]}}, "spec.nodeSelector.matchExpressions[0].operator"),
    ({"nodeSelector": {"matchExpressions": [{"operator": "In"}]}}, "spec.nodeSelector.matchExpressions[0].key"),
    ({"serviceSelector": {"matchExpressions": [{"key": "a"}]}}, "spec.serviceSelector.matchExpressions[0].operator"),
    ({"serviceSelector": {"matchExpressions": [{**EXPRESSION, "values": [7]}]}}, "spec.serviceSelector.matchExpressions[0].values[0]"),
    ({"interface": ["eth0"]}, "spec.interface"),
]


async def define(admin: Admin, path: Path) -> None:
    """Have the API server serve exactly this definition."""
    await admin.delete(f"{CRDS}/ciliuml2announcementpolicies.cilium.io")

    async def made() -> bool:
        await admin.transport.request("POST", CRDS, body=json.dumps(yaml.safe_load(path.read_text())).encode())
        return True

    await until_async(made, "the former definition to be gone")

    async def served() -> bool:
        return "items" in await admin.get(POLICIES)

    await until_async(served, "the definition to be served")


async def judge(admin: Admin, spec: dict[str, Any], version: str) -> str:
    """Why a policy with this spec is refused; "" when it is accepted. Nothing is stored."""
    document = {"apiVersion": f"cilium.io/{version}", "kind": "CiliumL2AnnouncementPolicy", "metadata": {"name": "l2"}, "spec": spec}
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    try:
        await admin.transport.request("POST", POLICIES.replace("v2alpha1", version), query, json.dumps(document).encode())
    except ApiError as err:
        if err.code not in (400, 422):
            raise
        return str(err)
    return ""


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda path: path.parent.name)
@asynchronous
async def test_definition_accepts_and_refuses_as_ciliums_does(control_plane: ControlPlane, definition: Path) -> None:
    async with administrator(control_plane) as admin:
        try:
            await define(admin, definition)
            served = [version["name"] for version in yaml.safe_load(definition.read_text())["spec"]["versions"] if version["served"]]
            assert "v2alpha1" in served
            for version in served:
                for spec in ACCEPTED:
                    assert await judge(admin, spec, version) == "", spec
                for spec, path in REFUSED:
                    assert path in await judge(admin, spec, version), spec
        finally:
            await define(admin, OURS)


@asynchronous
async def test_status_is_a_resource_of_its_own(control_plane: ControlPlane) -> None:
    async with administrator(control_plane) as admin:
        await admin.policy("l2", loadBalancerIPs=True)
        condition = {"type": "Ready", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        await admin.merge(f"{POLICIES}/l2/status", status={"conditions": [condition]}, spec={"loadBalancerIPs": False})
        stored = await admin.get(f"{POLICIES}/l2")
        assert stored["status"] == {"conditions": [condition]}
        assert stored["spec"] == {"loadBalancerIPs": True}
        assert stored["metadata"]["generation"] == 1
