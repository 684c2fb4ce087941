"""What the definition of the policies accepts and refuses, asked of a real API server.

Cilium's definition of the same name is ours without what makes ours stricter; ``CILIUM_CRD=FILE`` takes Cilium's own file in its place.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from netlab.control_plane import ControlPlane

from l2announce.control.policy import check_policies
from l2announce.errors import ApiError
from l2announce.kube.cluster import KubeCluster
from l2announce.wire.objects import KINDS
from tests.apiserver.rig import CRDS, POLICIES, REPOSITORY, Admin, administrator, asynchronous, following, until, until_async

pytestmark = pytest.mark.apiserver

NAME = "ciliuml2announcementpolicies.cilium.io"
OURS = REPOSITORY / "policies" / "crds" / "ciliuml2announcementpolicies.yaml"
EXAMPLES = sorted((REPOSITORY / "policies").glob("*/*.yaml"))
Definition = dict[str, Any]


def ours() -> Definition:
    """Our definition."""
    document: Definition = yaml.safe_load(OURS.read_text())
    return document


def ciliums() -> Definition:
    """Cilium's definition, or what it amounts to."""
    if path := os.environ.get("CILIUM_CRD"):
        document: Definition = next(filter(None, yaml.safe_load_all(Path(path).read_text())))
        return document
    document = json.loads(json.dumps(ours()))
    document["spec"]["versions"] = document["spec"]["versions"][:1]
    spec = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    for part in spec.values():
        _loosen(part)
    return document


def _loosen(schema: dict[str, Any]) -> None:
    """Drop what only ours has, in every place but the values of matchLabels."""
    for word in ("x-kubernetes-validations", "maxItems", "maxProperties", "maxLength", "pattern"):
        schema.pop(word, None)
    for part in (*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])):
        _loosen(part)


DEFINITIONS = {"ours": ours, "cilium's": ciliums}

EXPRESSION = {"key": "zone", "operator": "In", "values": ["a"]}
ACCEPTED: list[dict[str, Any]] = [
    {},
    {"externalIPs": True, "loadBalancerIPs": False},
    {"interfaces": []},
    {"interfaces": ["^eth[0-9]+", "", r"\bx\b", "(?i)ETH", "^" + "|".join(f"eth{number}" for number in range(500))]},
    {"interfaces": [f"^eth{number}$" for number in range(1000)]},
    {"nodeSelector": {"matchExpressions": [{**EXPRESSION, "values": [f"node-{number}" for number in range(5000)]}]}},
    {"interfaces": None, "nodeSelector": None, "serviceSelector": None},
    {"nodeSelector": {}},
    {"nodeSelector": {"matchLabels": {"a": "", "example.com/b": "x" * 63}}},
    {
        "nodeSelector": {
            "matchExpressions": [EXPRESSION, {"key": "b", "operator": "Exists"}, {"key": "c", "operator": "DoesNotExist", "values": []}]
        }
    },
    {"nodeSelector": {"matchExpressions": [{"key": f"{'a' * 63}.{'b' * 63}/{'C' * 63}", "operator": "In", "values": ["", "x" * 63]}]}},
    {"serviceSelector": {"matchLabels": {"io.kubernetes.service.namespace": "default"}}},
]
USELESS: list[tuple[dict[str, Any], str]] = [
    ({"interfaces": ["eth0", "("]}, 'spec.interfaces: Invalid value: "array": error parsing regexp: missing closing ): `(`'),
    ({"interfaces": ["(?=eth)"]}, "error parsing regexp: invalid or unsupported Perl syntax: `(?=`"),
    ({"nodeSelector": {"matchLabels": {"a/b/c": "x"}}}, "spec.nodeSelector: Invalid value: each key of matchLabels must be a label key"),
    ({"serviceSelector": {"matchLabels": {"": "x"}}}, "spec.serviceSelector: Invalid value: each key of matchLabels must be a label key"),
    ({"nodeSelector": {"matchExpressions": [{"key": "", "operator": "DoesNotExist"}]}}, "each key of matchExpressions must be"),
    ({"nodeSelector": {"matchExpressions": [{"key": "x" * 64, "operator": "Exists"}]}}, "each key of matchExpressions must be"),
    ({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "In and NotIn need at least one value"),
    ({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": []}]}}, "In and NotIn need at least one value"),
    ({"nodeSelector": {"matchExpressions": [{**EXPRESSION, "operator": "Exists"}]}}, "Exists and DoesNotExist take none"),
    ({"nodeSelector": {"matchExpressions": [{**EXPRESSION, "operator": "DoesNotExist"}]}}, "Exists and DoesNotExist take none"),
    ({"nodeSelector": {"matchExpressions": [{**EXPRESSION, "values": ["-"]}]}}, "spec.nodeSelector.matchExpressions[0].values[0]"),
    ({"nodeSelector": {"matchExpressions": [{**EXPRESSION, "values": ["x" * 64]}]}}, "spec.nodeSelector.matchExpressions[0].values[0]"),
]
"""What Cilium's definition accepts and its agents cannot use, and what ours says of it."""
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


async def define(admin: Admin, definition: Definition) -> None:
    """Have the API server serve exactly this definition, and no policies."""
    await admin.delete(f"{CRDS}/{NAME}")

    async def made() -> bool:
        await admin.transport.request("POST", CRDS, body=json.dumps(definition).encode())
        return True

    await until_async(made, "the former definition to be gone")

    async def served() -> bool:
        versions = [version["name"] for version in definition["spec"]["versions"] if version["served"]]
        return all(["items" in await admin.get(POLICIES.replace("v2alpha1", version)) for version in versions])

    await until_async(served, "the definition to be served")


async def replace(control_plane: ControlPlane, admin: Admin, definition: Definition, refused: bool) -> None:
    """Put a definition in place of the present one, as ``kubectl apply`` does, and wait until it serves: until it refuses a bad expression,
    or no longer does."""
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    await asyncio.to_thread(control_plane.kubectl, *apply, stdin=yaml.safe_dump(definition))

    async def serves() -> bool:
        return bool(await judge(admin, USELESS[0][0], "v2alpha1")) == refused

    await until_async(serves, "the other definition to be served")


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


@pytest.mark.parametrize("name", DEFINITIONS)
@asynchronous
async def test_definition_accepts_and_refuses(control_plane: ControlPlane, name: str) -> None:
    definition = DEFINITIONS[name]()
    async with administrator(control_plane) as admin:
        try:
            await define(admin, definition)
            served = [version["name"] for version in definition["spec"]["versions"] if version["served"]]
            assert "v2alpha1" in served
            for version in served:
                for spec in ACCEPTED:
                    assert await judge(admin, spec, version) == "", spec
                for spec, words in REFUSED:
                    assert words in await judge(admin, spec, version), spec
                for spec, words in USELESS:
                    said = await judge(admin, spec, version)
                    assert words in said if name == "ours" else said == "", spec
        finally:
            await define(admin, ours())


@pytest.mark.parametrize(("spec", "words"), USELESS, ids=[words for _, words in USELESS])
def test_what_only_our_definition_refuses_agents_cannot_use_either(spec: dict[str, Any], words: str) -> None:
    policy = KINDS["CiliumL2AnnouncementPolicy"].decode({"metadata": {"name": "l2"}, "spec": spec}).value
    checked = check_policies([policy])  # type: ignore[list-item]
    assert checked.problems, words


def test_both_print_the_same_columns() -> None:
    columns = [version["additionalPrinterColumns"] for made in DEFINITIONS.values() for version in made()["spec"]["versions"]]
    assert all(each == [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}] for each in columns)


@pytest.mark.parametrize("name", DEFINITIONS)
@asynchronous
async def test_every_policy_of_ours_is_accepted_by_both(control_plane: ControlPlane, name: str) -> None:
    documents = [document for file in EXAMPLES for document in yaml.safe_load_all(file.read_text())]
    policies = [document for document in documents if document["kind"] == "CiliumL2AnnouncementPolicy"]
    assert policies
    async with administrator(control_plane) as admin:
        try:
            await define(admin, DEFINITIONS[name]())
            for document in policies:
                assert await judge(admin, document["spec"], document["apiVersion"].partition("/")[2]) == "", document
        finally:
            await define(admin, ours())


@asynchronous
async def test_the_definitions_take_each_others_place_and_nothing_is_lost(control_plane: ControlPlane) -> None:
    """From Cilium's to ours and back, with a good and every kind of useless policy stored, while an agent follows."""
    names = {"good", *(f"bad{number}" for number in range(len(USELESS)))}
    condition = {"type": "Ready", "status": "False", "reason": "No", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    async with administrator(control_plane) as admin:
        try:
            await define(admin, ciliums())
            await admin.policy("good", loadBalancerIPs=True)
            for number, (spec, _) in enumerate(USELESS):
                await admin.policy(f"bad{number}", **spec)
            async with following(KubeCluster(admin.transport, "n1").states()) as states:
                await until(lambda: states and set(states[-1].policies) == names, "every policy")
                first = len(states)
                uids = {item["metadata"]["uid"] for item in (await admin.get(POLICIES))["items"]}
                await replace(control_plane, admin, ours(), refused=True)
                # What is stored and useless can be changed elsewhere, and be told so in its status; only a new fault is refused.
                for number in range(len(USELESS)):
                    bad = f"{POLICIES}/bad{number}"
                    await admin.merge(bad, metadata={"labels": {"seen": "yes"}}, spec={"externalIPs": True})
                    await admin.merge(f"{bad}/status", status={"conditions": [condition]})
                    with pytest.raises(ApiError, match="regular expression"):
                        await admin.merge(bad, spec={"interfaces": ["["]})
                await until(lambda: all(states[-1].policies[name].external_ips for name in names - {"good"}), "the changes to be seen")
                await replace(control_plane, admin, ciliums(), refused=False)
                await admin.merge(f"{POLICIES}/good", spec={"externalIPs": True})
                await until(lambda: states[-1].policies["good"].external_ips, "a change under the other definition")
                assert all(set(state.policies) == names for state in states[first:])
                stored = (await admin.get(POLICIES))["items"]
                assert {item["metadata"]["uid"] for item in stored} == uids
                assert all(item["status"] == {"conditions": [condition]} for item in stored if item["metadata"]["name"] != "good")
                assert (await admin.get(f"{CRDS}/{NAME}"))["status"]["storedVersions"] == ["v2alpha1"]
        finally:
            await define(admin, ours())


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
