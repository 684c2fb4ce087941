"""The embedded cluster of an agent: the objects of a directory of YAML files (live.py). Leases are in leases.py.

Fulfils control.ports.Cluster. A Service for which the operator has stored a status (pools.py) has the addresses of that one.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from l2announce.manifests.live import LiveObjects, Snapshot
from l2announce.manifests.loader import Loaded, ObjectLoader
from l2announce.manifests.status import write_policy_conditions
from l2announce.manifests.store import FileStore
from l2announce.model.conditions import Condition
from l2announce.model.events import ServiceEvent
from l2announce.model.objects import AnnouncementPolicy, ClusterState, Endpoint, NamespacedName, Node, Service
from l2announce.wire import schema
from l2announce.wire.fields import decode
from l2announce.wire.objects import KINDS, Value, with_status

_log = logging.getLogger(__name__)


class ManifestCluster:
    """The objects below ``directory``. ``wall_clock`` gives seconds since 1970, for the times in statuses only."""

    def __init__(self, directory: Path, wall_clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._wall_clock = wall_clock
        self._live = LiveObjects(directory, KINDS, FileStore(directory, statuses_place(directory), "status", _decode_status))

    async def states(self) -> AsyncIterator[ClusterState]:
        """The whole state, then again after every change that makes a difference. Errors as LiveObjects.snapshots."""
        previous: ClusterState | None = None
        async for snapshot in self._live.snapshots():
            state = cluster_state(snapshot)
            if state != previous:
                previous = state
                yield state

    async def write_policy_status(self, wanted: Mapping[str, Sequence[Condition]]) -> bool:
        """Write the conditions of policies below ``.cluster/status/``."""
        now = datetime.fromtimestamp(self._wall_clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            await asyncio.to_thread(write_policy_conditions, self._directory / ".cluster" / "status", wanted, now)
        except OSError as err:
            _log.warning("%s: policy status not written: %s; make %s writable", err.filename, err.strerror, self._directory / ".cluster")
            return False
        return True

    async def publish(self, event: ServiceEvent) -> bool:  # noqa: ARG002 - the port's
        """Nothing: there is no place for Events among manifests; the log has them."""
        return True


class ManifestLoader:
    """The files below ``directory`` as the state of a cluster, without what is stored beside them. Not for use by two threads at once."""

    def __init__(self, directory: Path) -> None:
        self._objects = ObjectLoader(directory, KINDS)

    def refresh(self, changed: Sequence[Path] = (), *, rescan: bool = True) -> ClusterState:
        """As ObjectLoader.refresh."""
        return cluster_state(self._objects.refresh(changed, rescan=rescan))


def statuses_place(directory: Path) -> Path:
    """Where the statuses of Services are stored."""
    return directory / ".cluster" / "services"


def cluster_state(found: Loaded[Value] | Snapshot[Value, schema.ServiceStatus]) -> ClusterState:
    """The state of a cluster that has these objects and statuses."""
    statuses = found.statuses if isinstance(found, Snapshot) else {}
    nodes: dict[str, Node] = {}
    services: dict[NamespacedName, Service] = {}
    endpoints: list[Endpoint] = []
    policies: dict[str, AnnouncementPolicy] = {}
    for value in found.values.values():
        match value:
            case Node():
                nodes[value.name] = value
            case Service():
                status = statuses.get(value.key)
                services[value.key] = value if status is None else with_status(value, status)
            case AnnouncementPolicy():
                policies[value.name] = value
            case _:
                endpoints.extend(value)
    return ClusterState(nodes, services, tuple(endpoints), policies, found.problems)


def _decode_status(octets: bytes, _name: str, _version: str) -> schema.ServiceStatus:
    return decode(octets, schema.Service).status or schema.ServiceStatus()
