"""Every fault: its kind, and how it begins."""

from typing import TypeAlias

from netlab.chaos import api, network, objects, processes
from netlab.chaos.plan import Kind
from netlab.chaos.scene import Begin
from netlab.kube import Kubernetes

FAULTS: tuple[tuple[Kind, Begin], ...] = (
    (Kind("control killed", 0.2, 2.0, 2), processes.kill("control")),
    (Kind("responder killed", 0.2, 2.0, 2), processes.kill("responder")),
    (Kind("both killed", 0.2, 5.0, 3), processes.kill("both")),
    (Kind("planned stop", 0.5, 4.0, 3), processes.terminate),
    (Kind("control frozen", 0.3, 8.0, 3), processes.freeze("control")),
    (Kind("responder frozen", 0.3, 8.0, 2), processes.freeze("responder")),
    (Kind("both frozen", 0.3, 8.0, 3), processes.freeze("both")),
    (Kind("clock stepped", 1.0, 6.0, 2), processes.step_clock),
    (Kind("link down", 0.2, 5.0, 3), network.link_down),
    (Kind("link bounces", 0.1, 0.2, 2), network.bounce),
    (Kind("MAC changed", 0.1, 0.2, 1), network.change_mac),
    (Kind("link re-created", 0.2, 2.0, 1), network.recreate),
    (Kind("lease deleted", 0.1, 0.2, 2), objects.delete_lease),
    (Kind("holder blanked", 0.1, 0.2, 1), objects.set_holder("")),
    (Kind("lease taken by a stranger", 0.1, 0.2, 1), objects.set_holder(objects.STRANGER)),
    (Kind("no policy", 0.5, 2.0, 1), objects.no_policy),
    (Kind("address changed", 0.5, 2.0, 1), objects.change_address),
    (Kind("node left out", 0.5, 3.0, 2), objects.leave_out),
)
"""On every cluster."""

API_FAULTS: tuple[tuple[Kind, Begin], ...] = (
    (Kind("API cut for a leader", 0.5, 10.0, 4), api.cut_leader),
    (Kind("API cut for a follower", 0.5, 10.0, 3), api.cut_follower),
    (Kind("API cut for all", 0.5, 10.0, 2), api.cut_all),
    (Kind("API frozen", 0.5, 10.0, 2), api.freeze),
    (Kind("API restarted", 0.1, 2.0, 1), api.restart),
)
"""On a Kubernetes cluster as well."""


Faults: TypeAlias = dict[str, tuple[Kind, Begin]]
"""By the names of their kinds."""


def faults_on(cluster: str) -> Faults:
    """The faults of a cluster by their names."""
    chosen = FAULTS + API_FAULTS if cluster == Kubernetes.name else FAULTS
    return {kind.name: (kind, begin) for kind, begin in chosen}
