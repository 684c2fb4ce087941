"""How a write changes a lease."""

from l2announce.model.lease import MOVE_TO, Lease, LeaseWrite, Verb
from l2announce.wire.leases import lease_after

HELD = Lease("a", "n1", 15.0, "7", "2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z", 3, {"kept": "yes"}, "uid")


def test_an_annotation_changes_neither_holder_nor_times() -> None:
    """Else a wish would look like a renewal, and a dead holder like a live one."""
    write = LeaseWrite(Verb.ANNOTATE, "a", "n1", 15.0, HELD, {MOVE_TO: "n2"})
    after = lease_after(write, "2026-02-02T00:00:00Z", "8")
    assert (after.resource_version, after.annotations) == ("8", {MOVE_TO: "n2"})
    assert (after.holder_identity, after.acquire_time, after.renew_time, after.lease_transitions, after.uid) == (
        *("n1", HELD.acquire_time, HELD.renew_time, 3),
        "uid",
    )
