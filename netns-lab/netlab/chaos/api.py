"""Faults of the API server and of the way to it; on a Kubernetes cluster only."""

from netlab.chaos.plan import Planned
from netlab.chaos.scene import Done, Scene
from netlab.kube import Kubernetes

RECOVERY = 10.0
"""Seconds, above the bound, after the API is back for everybody: the longest wait of a watch between two attempts (LONGEST_WAIT of
kube/reflector.py), and what TCP takes to notice that its peer was away (_DEAD_PEER_MS of kube/transport.py), if later."""


def _cluster(scene: Scene) -> Kubernetes:
    cluster = scene.lab.cluster
    if not isinstance(cluster, Kubernetes):
        raise TypeError(f"the cluster {cluster.name} has no API server")
    return cluster


def _cut(scene: Scene, node: str) -> Done:
    cluster = _cluster(scene)
    cluster.cut(node)
    return Done(node, lambda: cluster.join(node))


def cut_leader(scene: Scene, planned: Planned) -> Done:
    """The holder of an address loses the API."""
    return _cut(scene, scene.holder(scene.target(planned), planned.node))


def cut_follower(scene: Scene, planned: Planned) -> Done:
    """A node that does not hold an address loses the API."""
    holder = scene.holder(scene.target(planned), "")
    others = sorted(set(scene.lab.agents) - {holder})
    return _cut(scene, others[int(planned.chance * 7 % 1 * len(others))])


def cut_all(scene: Scene, _: Planned) -> Done:
    """Every node loses the API."""
    cluster, nodes = _cluster(scene), sorted(scene.lab.agents)
    for node in nodes:
        cluster.cut(node)

    def undo() -> None:
        for node in nodes:
            cluster.join(node)

    return Done("every node", undo, allowance=RECOVERY)


def freeze(scene: Scene, _: Planned) -> Done:
    """The API server is stopped in its tracks."""
    cluster = _cluster(scene)
    cluster.freeze()
    return Done("kube-apiserver", cluster.thaw, over=lambda: not cluster.is_away(), allowance=RECOVERY)


def restart(scene: Scene, _: Planned) -> Done:
    """The API server is killed, and started again at the end; it ends when that is ready."""
    cluster = _cluster(scene)
    cluster.kill()
    return Done("kube-apiserver", cluster.start_again, over=lambda: not cluster.is_away(), allowance=RECOVERY)
