"""coordination.k8s.io/v1 Leases <-> the Lease of model/, and how a LeaseWrite changes one."""

from dataclasses import replace

import msgspec

from l2announce.model.lease import Lease, LeaseWrite, Verb
from l2announce.wire import schema
from l2announce.wire.fields import ObjectError


def decode_lease(data: bytes) -> Lease:
    """A Lease from JSON; ObjectError for anything else. A duration that is absent counts as 0."""
    try:
        lease = msgspec.json.decode(data, type=schema.Lease)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise ObjectError((), "BadLease", f"not a Lease in JSON: {err}") from err
    if not lease.metadata.name:
        raise ObjectError(("metadata", "name"), "BadLease", "a Lease needs a name")
    spec = lease.spec or schema.LeaseSpec()
    return Lease(
        name=lease.metadata.name,
        holder_identity=spec.holder_identity or "",
        lease_duration=float(spec.lease_duration_seconds or 0),
        resource_version=lease.metadata.resource_version or "",
        acquire_time=spec.acquire_time or "",
        renew_time=spec.renew_time or "",
        lease_transitions=spec.lease_transitions or 0,
        annotations=lease.metadata.annotations or {},
        uid=lease.metadata.uid or "",
    )


def encode_lease(lease: Lease, namespace: str) -> bytes:
    """A Lease as JSON, with the fields that client-go writes; parts of a second of the duration are dropped, as Cilium does."""
    metadata = schema.ObjectMeta(
        lease.name, namespace, annotations=lease.annotations or None, resource_version=lease.resource_version, uid=lease.uid or None
    )
    spec = schema.LeaseSpec(
        lease.holder_identity, int(lease.lease_duration), lease.acquire_time or None, lease.renew_time or None, lease.lease_transitions
    )
    return msgspec.json.encode(schema.Lease("coordination.k8s.io/v1", "Lease", metadata, spec))


def lease_after(write: LeaseWrite, now: str, resource_version: str) -> Lease:
    """The Lease that ``write`` asks for, stamped as client-go does; ``now`` is a MicroTime. See LeaseWrite for the rules.

    A holder that acquires its own lease again resumes it: acquire time and transitions stay.
    """
    base = write.base
    if write.verb is Verb.ANNOTATE and base is not None:
        return replace(base, resource_version=resource_version, annotations=write.annotations)
    released = write.verb is Verb.RELEASE
    resumed = base is not None and base.holder_identity == write.holder_identity
    transitions = 0
    if base is not None:
        transitions = base.lease_transitions if resumed or released else base.lease_transitions + 1
    return Lease(
        name=write.name,
        holder_identity="" if released else write.holder_identity,
        lease_duration=1.0 if released else write.lease_duration,
        resource_version=resource_version,
        acquire_time=base.acquire_time if base is not None and resumed and not released else now,
        renew_time=now,
        lease_transitions=transitions,
        annotations=write.annotations,
        uid=base.uid if base is not None else "",
    )
