"""Faults of a node's link."""

import time

from netlab.chaos.plan import Planned
from netlab.chaos.scene import Done, Scene


def link_down(scene: Scene, planned: Planned) -> Done:
    """The port of the switch goes down."""
    node = scene.victim(planned)
    switch = scene.lab.network[scene.lab.topology.switch.name]
    switch.ip(f"link set {node} down", check=False)
    return Done(node, lambda: switch.ip(f"link set {node} up", check=False))


def bounce(scene: Scene, planned: Planned) -> Done:
    """The port goes down and up every tenth of a second."""
    node = scene.victim(planned)
    switch = scene.lab.network[scene.lab.topology.switch.name]
    for number in range(6):
        switch.ip(f"link set {node} {'up' if number % 2 else 'down'}", check=False)
        time.sleep(0.1)
    return Done(node)


def change_mac(scene: Scene, planned: Planned) -> Done:
    """The node's interface gets another MAC, for good."""
    node = scene.victim(planned)
    mac = b"\2\xca" + round(planned.chance * 2**32).to_bytes(4, "big")
    scene.nodes[mac] = node
    scene.lab.network[node].ip(f"link set eth0 address {mac.hex(':')}", check=False)
    return Done(node)


def recreate(scene: Scene, planned: Planned) -> Done:
    """The node's interface is deleted, and comes back by another index with another MAC."""
    node = scene.victim(planned)
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
