"""What is done to the lab: each fault has a begin and an end, and says for which addresses nothing is promised meanwhile."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from l2announce.manifests.leases import FileLeases, read_leases
from l2announce.model.lease import Lease, LeaseWrite, Verb
from netlab.agents import Agent
from netlab.chaos.plan import Kind, Planned
from netlab.lab import Lab
from netlab.leases import LeaseHistory
from netlab.services import ServiceAddress

NAMESPACE = "kube-system"
STRANGER = "stranger"


Change = Callable[[str], str]
Undo = Callable[[], None]


@dataclass(slots=True)
class Scene:
    """What faults act on. ``nodes`` has every MAC that a node has had. ``kept_down``: how many faults keep an agent from being started
    again. ``edits``: by file of the manifests, what is changed in it at present."""

    lab: Lab
    history: LeaseHistory
    nodes: dict[bytes, str]
    kept_down: Counter[str] = field(default_factory=Counter)
    originals: dict[str, str] = field(default_factory=dict)
    edits: dict[str, list[Change]] = field(default_factory=dict)

    @property
    def everything(self) -> frozenset[str]:
        """Every service address."""
        return frozenset(str(item.address) for item in self.lab.services)

    def holder(self, item: ServiceAddress, otherwise: str) -> str:
        """Who holds the lease of an address; ``otherwise`` when no node does."""
        holder = self.history.holder(item.lease)
        return holder if holder in self.lab.agents else otherwise

    def agent(self, node: str) -> Agent:
        """The agent of a node."""
        return self.lab.agents[node]

    def edit(self, name: str, change: Change) -> Undo:
        """Change a file of the manifests, until what is returned is called. Changes of the same time are made one after another."""
        self.originals.setdefault(name, (self.lab.manifests / name).read_text())
        self.edits.setdefault(name, []).append(change)
        self._render(name)

        def undo() -> None:
            self.edits[name].remove(change)
            self._render(name)

        return undo

    def _render(self, name: str) -> None:
        text = self.originals[name]
        for change in self.edits[name]:
            text = change(text)
        draft = self.lab.manifests / f".{name}"
        draft.write_text(text)
        draft.rename(self.lab.manifests / name)

    def keep_down(self, node: str) -> Undo:
        """Do not start the agent of a node again until what is returned is called."""
        self.kept_down[node] += 1
        return lambda: self.kept_down.subtract([node])

    def note_macs(self) -> None:
        """Learn the MACs that the nodes have now."""
        self.nodes.update(self.lab.macs())

    def pids(self, node: str, which: str) -> list[int]:
        """The control process, the responder, or both; none of one that is gone."""
        agent = self.agent(node)
        if not agent.is_running():
            return []
        both = agent.both_pids()
        return {"control": both[:1], "responder": both[1:], "both": both}[which]

    def signal(self, pids: list[int], number: signal.Signals) -> None:
        """Signal processes that we started, those that are left."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that has begun: whom it hit, for which addresses nothing is promised until it has ended, and how to end it."""

    what: str
    undo: Undo = lambda: None
    excuses: frozenset[str] = frozenset()


Begin = Callable[[Scene, Planned], Done]


def _target(scene: Scene, planned: Planned) -> ServiceAddress:
    return scene.lab.services[int(planned.chance * len(scene.lab.services))]


def _victim(scene: Scene, planned: Planned) -> str:
    """Two times of three the holder of an address, else the node of the plan: harm that hits nobody shows little."""
    return scene.holder(_target(scene, planned), planned.node) if planned.chance * 3 % 1 < 2 / 3 else planned.node


def _kill(which: str) -> Begin:
    def begin(scene: Scene, planned: Planned) -> Done:
        node = _victim(scene, planned)
        undo = scene.keep_down(node)
        scene.signal(scene.pids(node, which), signal.SIGKILL)
        return Done(node, undo)

    return begin


def _stop(which: str) -> Begin:
    def begin(scene: Scene, planned: Planned) -> Done:
        node = _victim(scene, planned)
        pids = scene.pids(node, which)
        scene.signal(pids, signal.SIGSTOP)
        return Done(node, lambda: scene.signal(pids, signal.SIGCONT))

    return begin


def _terminate(scene: Scene, planned: Planned) -> Done:
    node = _victim(scene, planned)
    undo = scene.keep_down(node)
    scene.signal(scene.pids(node, "control"), signal.SIGTERM)
    return Done(node, undo)


def _link_down(scene: Scene, planned: Planned) -> Done:
    node = _victim(scene, planned)
    switch = scene.lab.network[scene.lab.topology.switch.name]
    switch.ip(f"link set {node} down", check=False)
    return Done(node, lambda: switch.ip(f"link set {node} up", check=False))


def _bounce(scene: Scene, planned: Planned) -> Done:
    """The port goes down and up every tenth of a second."""
    node = _victim(scene, planned)
    switch = scene.lab.network[scene.lab.topology.switch.name]
    for number in range(6):
        switch.ip(f"link set {node} {'up' if number % 2 else 'down'}", check=False)
        time.sleep(0.1)
    return Done(node)


def _mac(scene: Scene, planned: Planned) -> Done:
    node = _victim(scene, planned)
    mac = b"\2\xca" + round(planned.chance * 2**32).to_bytes(4, "big")
    scene.nodes[mac] = node
    scene.lab.network[node].ip(f"link set eth0 address {mac.hex(':')}", check=False)
    return Done(node)


def _recreate(scene: Scene, planned: Planned) -> Done:
    """The node's interface is deleted, and comes back by another index with another MAC."""
    node = _victim(scene, planned)
    topology, network = scene.lab.topology, scene.lab.network
    host = next(each for each in topology.nodes if each.name == node)
    if host.device not in network[node].interfaces():
        return Done(node)
    network[node].ip(f"link delete {host.device}")

    def undo() -> None:
        network.attach(network[topology.switch.name], topology.switch.bridge, network[node], host.device)
        network[node].address(host.device, *host.addresses)
        scene.note_macs()

    return Done(node, undo)


def _write(scene: Scene, item: ServiceAddress, holder: str) -> bool:
    """Write a holder into a lease as somebody with the right to: by compare-and-swap, a few times. False when it is gone."""
    store = FileLeases(scene.lab.manifests, NAMESPACE)
    for _ in range(5):
        base: Lease | None = next((lease for lease in read_leases(scene.lab.manifests, NAMESPACE) if lease.name == item.lease), None)
        if base is None:
            return False
        verb = Verb.ACQUIRE if holder else Verb.RELEASE
        outcome = asyncio.run(store.write(LeaseWrite(verb, item.lease, holder, 3.0 if holder else 1.0, base)))
        if type(outcome).__name__ == "Written":
            return True
    return False


def _sharers(scene: Scene, item: ServiceAddress) -> frozenset[str]:
    return frozenset(str(other.address) for other in scene.lab.services if other.lease == item.lease)


def _foreign(holder: str) -> Begin:
    def begin(scene: Scene, planned: Planned) -> Done:
        item = _target(scene, planned)
        _write(scene, item, holder)
        return Done(item.lease, excuses=_sharers(scene, item))

    return begin


def _delete_lease(scene: Scene, planned: Planned) -> Done:
    item = _target(scene, planned)
    asyncio.run(FileLeases(scene.lab.manifests, NAMESPACE).delete(item.lease))
    return Done(item.lease, excuses=_sharers(scene, item))


def _no_policy(scene: Scene, _: Planned) -> Done:
    return Done("every policy", scene.edit("policy.yaml", lambda text: text.replace("^eth0$", "^none$")), scene.everything)


def _no_address(scene: Scene, planned: Planned) -> Done:
    item = _target(scene, planned)
    undo = scene.edit("services.yaml", lambda text: text.replace(f"ip: {item.address}\n", "ip: 10.99.0.249\n"))
    return Done(str(item.address), undo, frozenset({str(item.address)}))


def _left_out(scene: Scene, planned: Planned) -> Done:
    """The node's labels are changed so that the policy no longer selects it."""
    node = _victim(scene, planned)
    name = f"labels: {{kubernetes.io/hostname: {node}}}"
    return Done(node, scene.edit("nodes.yaml", lambda text: text.replace(name, f"{name[:-1]}, left-out: yes}}")))


FAULTS: dict[str, tuple[Kind, Begin]] = {
    kind.name: (kind, begin)
    for kind, begin in (
        (Kind("control killed", 0.2, 2.0, 2), _kill("control")),
        (Kind("responder killed", 0.2, 2.0, 2), _kill("responder")),
        (Kind("both killed", 0.2, 5.0, 3), _kill("both")),
        (Kind("planned stop", 0.5, 4.0, 3), _terminate),
        (Kind("control frozen", 0.3, 8.0, 3), _stop("control")),
        (Kind("responder frozen", 0.3, 8.0, 2), _stop("responder")),
        (Kind("both frozen", 0.3, 8.0, 3), _stop("both")),
        (Kind("link down", 0.2, 5.0, 3), _link_down),
        (Kind("link bounces", 0.1, 0.2, 2), _bounce),
        (Kind("MAC changed", 0.1, 0.2, 1), _mac),
        (Kind("link re-created", 0.2, 2.0, 1), _recreate),
        (Kind("lease deleted", 0.1, 0.2, 2), _delete_lease),
        (Kind("holder blanked", 0.1, 0.2, 1), _foreign("")),
        (Kind("lease taken by a stranger", 0.1, 0.2, 1), _foreign(STRANGER)),
        (Kind("no policy", 0.5, 2.0, 1), _no_policy),
        (Kind("address changed", 0.5, 2.0, 1), _no_address),
        (Kind("node left out", 0.5, 3.0, 2), _left_out),
    )
}
