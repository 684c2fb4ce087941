"""Which cluster an agent works on: the adapters behind the ports of control/ports.py, as its settings ask for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from l2announce.agent.settings import Settings
from l2announce.control.ports import Cluster, LeaseStore

if TYPE_CHECKING:
    from l2announce.ipam.ports import IpamObjects

OBJECT_CONNECTIONS = 8
"""For lists and watches: one for each of five resources, and room for those that take the place of another, statuses and Events."""
LEASE_CONNECTIONS = 33
"""One watch, and 32 writes at a time: with a renewal every 5 s, enough for 800 leases when the API server takes 200 ms to answer."""

POOL_CONNECTIONS = 20
"""Of an operator: three watches, 16 statuses of Services at a time, one of a pool."""


@asynccontextmanager
async def open_cluster(settings: Settings) -> AsyncIterator[tuple[Cluster, LeaseStore]]:
    """The objects and the leases; ConfigurationError when there is no such cluster. Leases never wait behind objects."""
    if settings.manifests is not None:
        from l2announce.manifests.cluster import ManifestCluster
        from l2announce.manifests.leases import FileLeases

        yield ManifestCluster(settings.manifests), FileLeases(settings.manifests, settings.lease_namespace)
        return
    from l2announce.kube.cluster import KubeCluster
    from l2announce.kube.credentials import from_kubeconfig, from_service_account
    from l2announce.kube.leases import KubeLeases
    from l2announce.kube.transport import Transport

    credentials = from_kubeconfig(settings.kubeconfig, settings.context) if settings.kubeconfig else from_service_account()
    objects, leases = Transport(credentials, OBJECT_CONNECTIONS), Transport(credentials, LEASE_CONNECTIONS)
    try:
        await objects.open()
        await leases.open()
        yield KubeCluster(objects, settings.node_name), KubeLeases(leases, settings.lease_namespace, settings.timing.renew_deadline)
    finally:
        await objects.close()
        await leases.close()


@asynccontextmanager
async def open_pools(settings: Settings) -> AsyncIterator[tuple["IpamObjects", LeaseStore]]:
    """The pools, the Services, and the leases; ConfigurationError when there is no such cluster."""
    if settings.manifests is not None:
        from l2announce.manifests.leases import FileLeases
        from l2announce.manifests.pools import ManifestPools

        yield ManifestPools(settings.manifests), FileLeases(settings.manifests, settings.lease_namespace)
        return
    from l2announce.kube.credentials import from_kubeconfig, from_service_account
    from l2announce.kube.leases import KubeLeases
    from l2announce.kube.pools import KubePools
    from l2announce.kube.transport import Transport

    credentials = from_kubeconfig(settings.kubeconfig, settings.context) if settings.kubeconfig else from_service_account()
    objects, leases = Transport(credentials, POOL_CONNECTIONS), Transport(credentials, 2)
    try:
        await objects.open()
        await leases.open()
        yield KubePools(objects, settings.node_name), KubeLeases(leases, settings.lease_namespace, settings.timing.renew_deadline)
    finally:
        await objects.close()
        await leases.close()
