"""metav1.Conditions <-> the Condition of model/."""

from collections.abc import Iterable, Sequence

import msgspec

from l2announce.model.conditions import Condition
from l2announce.wire import schema


def decode_conditions(conditions: Iterable[schema.Condition] | None) -> tuple[Condition, ...]:
    """The conditions of a status; none when it has none."""
    return tuple(
        Condition(one.type, one.status, one.reason, one.message, one.observed_generation, one.last_transition_time)
        for one in conditions or ()
    )


def condition_documents(conditions: Iterable[Condition]) -> list[dict[str, str | int]]:
    """Conditions as a status has them, every field written."""
    return [
        {
            "type": one.type,
            "status": one.status,
            "reason": one.reason,
            "message": one.message,
            "observedGeneration": one.observed_generation,
            "lastTransitionTime": one.last_transition_time,
        }
        for one in conditions
    ]


def encode_policy_status(version: str, name: str, conditions: Sequence[Condition]) -> bytes:
    """What a server-side apply of the status of a CiliumL2AnnouncementPolicy says, as JSON."""
    document = {
        "apiVersion": f"cilium.io/{version}",
        "kind": "CiliumL2AnnouncementPolicy",
        "metadata": {"name": name},
        "status": {"conditions": condition_documents(conditions)},
    }
    return msgspec.json.encode(document)
