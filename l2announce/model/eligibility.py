"""What makes a node give an address up, or not: the choices of the operator."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from l2announce.errors import ConfigurationError

NODE_GRACE = 15.0
"""Seconds for which a Node's conditions may be bad before they count. The kubelet posts every 10 s, so one bad report that the next one
corrects, and a kubelet that is restarted, move nothing; its pods' traffic flows meanwhile."""

MAX_NODE_GRACE = 600.0
"""The longest grace period that may be asked for: for so long a broken node keeps its addresses."""

Keeping: TypeAlias = Literal["keep", "withdraw"]
SubnetMatch: TypeAlias = Literal["off", "prefer", "require"]


@dataclass(frozen=True, slots=True)
class EligibilitySettings:
    """``node_grace``: seconds until conditions of a Node count. ``on_cordon``, ``on_exclude_label``: whether a node that is unschedulable,
    or has the label node.kubernetes.io/exclude-from-external-load-balancers, keeps its addresses. ``on_no_endpoints``: whether a Service of
    externalTrafficPolicy Local that no candidate can serve is announced all the same. ``subnet_match``: whether an address has to lie in a
    connected subnet of an interface that announces it; ``prefer`` lets the nodes wait where it does not."""

    node_grace: float = NODE_GRACE
    on_cordon: Keeping = "keep"
    on_exclude_label: Keeping = "keep"
    on_no_endpoints: Keeping = "withdraw"
    subnet_match: SubnetMatch = "off"

    def __post_init__(self) -> None:
        if not 0 <= self.node_grace <= MAX_NODE_GRACE:
            raise ConfigurationError(
                f"--node-grace {self.node_grace:g}s: must be from 0s, for which a condition counts at once, to {MAX_NODE_GRACE:g}s"
            )
