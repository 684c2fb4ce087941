"""What an administrator may do to leases and objects, in files and through an API server alike."""

from typing import Any

from netlab.chaos.plan import Planned
from netlab.chaos.scene import Begin, Done, Scene
from netlab.edits import addresses, labels, policy

STRANGER = "stranger"
POLICY = policy("l2")
LEFT_OUT = "left-out"
OTHER = {4: "10.99.0.249", 6: "fd99::249"}
"""What an address is changed to."""


def heed_label(spec: dict[str, Any]) -> dict[str, Any]:
    """A policy that does not select nodes with the label by which ``leave_out`` marks them."""
    return spec | {"nodeSelector": {"matchExpressions": [{"key": LEFT_OUT, "operator": "DoesNotExist"}]}}


def set_holder(holder: str) -> Begin:
    """Another holder, or none, is written into a lease."""

    def begin(scene: Scene, planned: Planned) -> Done:
        item = scene.target(planned)
        scene.editor.set_holder(item.lease, holder)
        return Done(item.lease, excuses=scene.sharers(item))

    return begin


def delete_lease(scene: Scene, planned: Planned) -> Done:
    """A lease is deleted."""
    item = scene.target(planned)
    scene.editor.delete_lease(item.lease)
    return Done(item.lease, excuses=scene.sharers(item))


def no_policy(scene: Scene, _: Planned) -> Done:
    """The policy chooses no interface."""
    undo = scene.editor.edit(POLICY, lambda spec: spec | {"interfaces": ["^none$"]})
    return Done("every policy", undo, scene.everything)


def change_address(scene: Scene, planned: Planned) -> Done:
    """A Service has another address in place of one."""
    item = scene.target(planned)

    def replace(balancer: dict[str, Any]) -> dict[str, Any]:
        changed = {str(item.address): OTHER[item.address.version]}
        return {"ingress": [entry | {"ip": changed.get(entry["ip"], entry["ip"])} for entry in balancer["ingress"]]}

    undo = scene.editor.edit(addresses(item.service.partition("/")[2]), replace)
    return Done(str(item.address), undo, frozenset({str(item.address)}))


def leave_out(scene: Scene, planned: Planned) -> Done:
    """The node's labels are changed so that the policy no longer selects it."""
    node = scene.victim(planned)
    return Done(node, scene.editor.edit(labels(node), lambda present: present | {LEFT_OUT: "yes"}))
