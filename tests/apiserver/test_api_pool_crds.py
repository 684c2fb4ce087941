"""What the definition of the pools accepts and refuses, asked of a real API server, and that it and Cilium's take each other's place.

Cilium's definition of the same name is ours without what makes ours stricter, and without ``cidrs``; ``CILIUM_POOL_CRD=FILE`` takes
Cilium's own file in its place.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from netlab.control_plane import ControlPlane

from l2announce.errors import ApiError
from l2announce.ipam.pools import PoolBook
from l2announce.wire.pools import POOL_KINDS
from tests.apiserver.rig import REPOSITORY, SERVICES, Admin, administrator, asynchronous, until_async
from tests.apiserver.test_api_operator import POOLS, stand

pytestmark = pytest.mark.apiserver

NAME = "ciliumloadbalancerippools.cilium.io"
OURS = REPOSITORY / "policies" / "crds" / "ciliumloadbalancerippools.yaml"
EXAMPLES = sorted((REPOSITORY / "policies").glob("*/*.yaml"))
Definition = dict[str, Any]


def ours() -> Definition:
    """Our definition."""
    document: Definition = yaml.safe_load(OURS.read_text())
    return document


def ciliums() -> Definition:
    """Cilium's definition, or what it amounts to."""
    if path := os.environ.get("CILIUM_POOL_CRD"):
        document: Definition = next(filter(None, yaml.safe_load_all(Path(path).read_text())))
        return document
    document = json.loads(json.dumps(ours()))
    for version in document["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        del spec["cidrs"]
        for word in ("maxItems", "x-kubernetes-validations"):
            del spec["blocks"][word]
        for end in ("start", "stop"):
            del spec["blocks"]["items"]["properties"][end]["maxLength"]
    return document


DEFINITIONS = {"ours": ours, "cilium's": ciliums}
ACCEPTED: list[dict[str, Any]] = [
    {},
    {"blocks": []},
    {"blocks": [{"cidr": "10.0.0.0/8"}, {"cidr": "10.0.0.7/24"}, {"cidr": "fd00::/64"}, {"cidr": "192.0.2.1/32"}]},
    {"blocks": [{"start": "10.0.0.1"}, {"start": "fd00::1", "stop": "fd00::ff"}]},
    {"blocks": [{"cidr": f"10.{number // 256}.{number % 256}.0/24"} for number in range(4096)]},
    {"disabled": True, "allowFirstLastIPs": "No"},
    {"serviceSelector": {"matchLabels": {"io.kubernetes.service.namespace": "shop"}}},
    {"serviceSelector": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"blocks": [{"cidr": "10.0.0.0/33"}]}, "spec.blocks[0].cidr"),
    ({"blocks": [{"cidr": "all"}]}, "spec.blocks[0].cidr"),
    ({"blocks": {"cidr": "10.0.0.0/8"}}, "spec.blocks"),
    ({"allowFirstLastIPs": "Maybe"}, "spec.allowFirstLastIPs"),
    ({"allowFirstLastIPs": True}, "spec.allowFirstLastIPs"),
    ({"disabled": "no"}, "spec.disabled"),
    ({"serviceSelector": {"matchExpressions": [{"key": "zone", "operator": "Near"}]}}, "operator"),
    ({"block": []}, "spec.block"),
]
USELESS: list[tuple[dict[str, Any], str]] = [
    ({"blocks": [{}]}, "each block needs a cidr, or a start"),
    ({"blocks": [{"stop": "10.0.0.1"}]}, "each block needs a cidr, or a start"),
    ({"blocks": [{"start": "1" * 65}]}, "spec.blocks[0].start"),
]
"""What Cilium's definition accepts and its operator cannot use, and what ours says of it."""


async def replace(control_plane: ControlPlane, admin: Admin, definition: Definition, refused: bool) -> None:
    """Put a definition in place of the present one, as ``kubectl apply`` does, and wait until it serves."""
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    await asyncio.to_thread(control_plane.kubectl, *apply, stdin=yaml.safe_dump(definition))

    async def serves() -> bool:
        versions = ("v2", "v2alpha1")
        return all([bool(await judge(admin, USELESS[0][0], version)) == refused for version in versions])

    await until_async(serves, "the other definition to be served")


async def judge(admin: Admin, spec: dict[str, Any], version: str) -> str:
    """Why a pool with this spec is refused; "" when it is accepted. Nothing is stored."""
    document = {"apiVersion": f"cilium.io/{version}", "kind": "CiliumLoadBalancerIPPool", "metadata": {"name": "p"}, "spec": spec}
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    try:
        await admin.transport.request("POST", POOLS.replace("/v2/", f"/{version}/"), query, json.dumps(document).encode())
    except ApiError as err:
        if err.code not in (400, 422):
            raise
        return str(err)
    return ""


@pytest.mark.parametrize("name", DEFINITIONS)
@asynchronous
async def test_definition_accepts_and_refuses(control_plane: ControlPlane, name: str) -> None:
    examples = [document for file in EXAMPLES for document in yaml.safe_load_all(file.read_text())]
    pools = [document["spec"] for document in examples if document["kind"] == "CiliumLoadBalancerIPPool"]
    assert pools
    async with administrator(control_plane) as admin:
        await replace(control_plane, admin, DEFINITIONS[name](), refused=name == "ours")
        try:
            for version in ("v2", "v2alpha1"):
                for spec in (*ACCEPTED, *pools):
                    assert await judge(admin, spec, version) == "", spec
                for spec, words in REFUSED:
                    assert words in await judge(admin, spec, version), spec
                for spec, words in USELESS:
                    said = await judge(admin, spec, version)
                    assert words in said if name == "ours" else said == "", spec
                old_name = await judge(admin, {"cidrs": [{"cidr": "10.0.0.0/8"}]}, version)
                assert old_name == "" if name == "ours" else "unknown field" in old_name
        finally:
            await replace(control_plane, admin, ours(), refused=True)


@pytest.mark.parametrize(("spec", "words"), USELESS, ids=["empty", "no start", "too long"])
def test_what_only_our_definition_refuses_the_operator_cannot_use_either(spec: dict[str, Any], words: str) -> None:
    pool = POOL_KINDS["CiliumLoadBalancerIPPool"].decode({"metadata": {"name": "p"}, "spec": spec}).value
    (checked,) = PoolBook.of([pool]).pools  # type: ignore[list-item]
    assert checked.problems, words


@asynchronous
async def test_the_definitions_take_each_others_place_and_no_service_loses_its_address(control_plane: ControlPlane) -> None:
    """From Cilium's to ours and back, with a good pool and every kind of useless one stored, while an operator runs."""
    async with stand(control_plane) as at:
        await replace(control_plane, at.admin, ciliums(), refused=False)
        try:
            await at.pool("good", "10.10.0.0/30")
            for number, (spec, _) in enumerate(USELESS):
                kind = "CiliumLoadBalancerIPPool"
                await at.admin.create(POOLS, f"bad{number}", apiVersion="cilium.io/v2", kind=kind, spec=spec)
            async with at.operator("o1"):
                await at.service("web")
                await at.until_given("web", "10.10.0.0")
                for turn, (definition, refused) in enumerate(((ours(), True), (ciliums(), False)), 1):
                    await replace(control_plane, at.admin, definition, refused)
                    for number in range(len(USELESS)):
                        await at.admin.merge(f"{POOLS}/bad{number}", spec={"disabled": turn % 2 == 1})

                        async def told(number: int = number, generation: int = turn + 1) -> bool:
                            found = (await at.admin.get(f"{POOLS}/bad{number}")).get("status", {}).get("conditions", ())
                            return any(
                                (one["type"], one["status"], one["observedGeneration"]) == ("l2announce.io/InvalidPool", "True", generation)
                                for one in found
                            )

                        await until_async(told, "a useless pool to be told so")
                    await at.service(f"next{turn}")
                    await at.until_given(f"next{turn}", f"10.10.0.{turn}")
                assert await at.given("web") == ["10.10.0.0"]
                assert len((await at.admin.get(SERVICES))["items"]) >= 3
        finally:
            await replace(control_plane, at.admin, ours(), refused=True)
