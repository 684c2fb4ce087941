"""Conditions of objects, as metav1.Condition has them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as it is, or as it shall be: then without ``last_transition_time``, RFC 3339 in UTC, which whoever writes it fills in.

    ``status`` is True, False or Unknown; ``reason`` one CamelCase word (Cilium's own types have ``error``).
    """

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int = 0
    last_transition_time: str = ""
