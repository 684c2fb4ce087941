"""Leases of the API server. Fulfils control.ports.LeaseStore; decides nothing about leases.

A write is one request, a POST or a PUT with the resource version, without a GET before it: the watch has told what there is.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime

from l2announce.control.ports import LeaseObserved, LeasesListed
from l2announce.errors import ApiError
from l2announce.kube.reflector import Listed, Reflector, Resource
from l2announce.kube.transport import Transport
from l2announce.model.lease import Conflict, Lease, LeaseWrite, Unreachable, WriteOutcome, Written
from l2announce.wire.fields import ObjectError
from l2announce.wire.leases import decode_lease, encode_lease, lease_after

_log = logging.getLogger(__name__)


class KubeLeases:
    """The Leases of one namespace, through a Transport of their own.

    ``wall_clock`` gives seconds since 1970, for the times that leases carry. A write without an answer in ``time_limit`` s is Unreachable.
    """

    def __init__(self, transport: Transport, namespace: str, time_limit: float, wall_clock: Callable[[], float] = time.time) -> None:
        self._transport = transport
        self._namespace = namespace
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._time_limit = time_limit
        self._wall_clock = wall_clock
        self._watch_trouble = ""
        self._write_trouble = ""

    @property
    def trouble(self) -> str:
        """What the last write, or else the watch, has failed with; "" when both are well."""
        return self._write_trouble or self._watch_trouble

    def _watch_failing(self, err: ApiError | None) -> None:
        remedy = f"; grant list and watch on leases in namespace {self._namespace}" if err and err.code == 403 else ""
        trouble = f"leases of namespace {self._namespace}: {err}{remedy}" if err else ""
        if trouble and trouble != self._watch_trouble:
            _log.warning(trouble)
        self._watch_trouble = trouble

    async def watch(self) -> AsyncIterator[LeasesListed | LeaseObserved]:
        """LeasesListed, then each change; after a gap LeasesListed again. Never ends."""
        async with aclosing(Reflector(self._transport, Resource(self._path), failing=self._watch_failing).changes()) as changes:
            async for change in changes:
                self._write_trouble = ""
                if isinstance(change, Listed):
                    leases = (_decode(item) for item in change.items)
                    yield LeasesListed(tuple(lease for lease in leases if lease is not None))
                else:
                    yield LeaseObserved(change.name, None if change.type == "DELETED" else _decode(change.octets))

    async def write(self, write: LeaseWrite) -> WriteOutcome:
        """Try one write, once. Conflict when somebody else was first, or the lease is gone."""
        outcome = await self._write(write)
        self._write_trouble = outcome.reason if isinstance(outcome, Unreachable) else ""
        return outcome

    async def _write(self, write: LeaseWrite) -> WriteOutcome:
        now = datetime.fromtimestamp(self._wall_clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lease = lease_after(write, now, write.base.resource_version if write.base else "")
        method, path = ("POST", self._path) if write.base is None else ("PUT", f"{self._path}/{write.name}")
        try:
            answer = await self._transport.request(method, path, body=encode_lease(lease, self._namespace), timeout=self._time_limit)
            return Written(decode_lease(answer))
        except ApiError as err:
            if err.code == 409 or (err.code == 404 and write.base is not None):
                return Conflict()
            return Unreachable(f"lease {self._namespace}/{write.name}: {err}{_remedy(err, method, self._namespace)}")
        except ObjectError as err:
            return Unreachable(f"lease {self._namespace}/{write.name}: the API server answered with something else: {err}")

    async def delete(self, name: str) -> WriteOutcome:
        """Delete a lease, whoever holds it. Written, with its name alone, when it was there; Conflict when there is none."""
        try:
            await self._transport.request("DELETE", f"{self._path}/{name}", timeout=self._time_limit)
        except ApiError as err:
            if err.code == 404:
                return Conflict()
            return Unreachable(f"lease {self._namespace}/{name}: {err}{_remedy(err, 'DELETE', self._namespace)}")
        return Written(Lease(name, "", 0.0, ""))


def _remedy(err: ApiError, method: str, namespace: str) -> str:
    if err.code == 403:
        verb = {"POST": "create", "DELETE": "delete"}.get(method, "update")
        return f"; grant {'' if method != 'DELETE' else 'yourself '}{verb} on leases in namespace {namespace}"
    return f"; is there a namespace {namespace}?" if err.code == 404 else ""


def _decode(octets: bytes) -> Lease | None:
    try:
        return decode_lease(octets)
    except ObjectError as err:
        _log.warning("a Lease that cannot be read counts as absent: %s", err)
        return None
