"""The objects of a large cluster: Nodes and Services about as large as real ones, and the policy. Pure."""

from ipaddress import IPv4Address
from typing import Any

Document = dict[str, Any]

FIRST_ADDRESS = IPv4Address("10.98.0.1")
"""External IP of Service 0; the others count up."""
ANNOUNCED = {"scale.example/announced": "yes"}
ANNOUNCERS = {"scale.example/announcer": "yes"}

POLICY: Document = {
    "apiVersion": "cilium.io/v2alpha1",
    "kind": "CiliumL2AnnouncementPolicy",
    "metadata": {"name": "scale"},
    "spec": {
        "externalIPs": True,
        "interfaces": ["^eth0$"],
        "serviceSelector": {"matchLabels": ANNOUNCED},
        "nodeSelector": {"matchLabels": ANNOUNCERS},
    },
}


def service_name(number: int) -> str:
    """Name of a Service by its number."""
    return f"service-{number:05}"


def address_of(number: int) -> IPv4Address:
    """External IP of a Service by its number."""
    return FIRST_ADDRESS + number


def service(number: int, announced: bool) -> Document:
    """A Service with an external IP, two ports, and the labels and annotations that a chart gives it."""
    name = service_name(number)
    labels = {f"app.kubernetes.io/{key}": value for key, value in _CHART.items()} | {"app.kubernetes.io/instance": name}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": labels | (ANNOUNCED if announced else {}),
            "annotations": {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": "default"},
        },
        "spec": {
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "metrics", "port": 9090, "targetPort": "metrics"}],
            "externalIPs": [str(address_of(number))],
        },
    }


def node(name: str, announcer: bool) -> Document:
    """A Node as a kubelet makes it; ``node_status`` is the larger part."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": _node_labels(name) | (ANNOUNCERS if announcer else {}), "annotations": _NODE_ANNOTATIONS},
    }


def node_status(name: str) -> Document:
    """Conditions, capacities, addresses and 50 images: about 12 KB, as the status of a Node that has run for a while."""
    condition = {
        "status": "False",
        "lastHeartbeatTime": _THEN,
        "lastTransitionTime": _THEN,
        "reason": "Kubelet",
        "message": "kubelet has no",
    }
    amounts = {"cpu": "32", "memory": "131072Mi", "pods": "110", "ephemeral-storage": "510Gi", "hugepages-2Mi": "0"}
    return {
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.200.1.1"}, {"type": "Hostname", "address": name}],
            "allocatable": amounts,
            "capacity": amounts,
            "conditions": [
                *({"type": kind, **condition} for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")),
                {**condition, "type": "Ready", "status": "True"},
            ],
            "images": [
                {"names": [f"registry.example/team-{number}/program-{number}@sha256:{number:064x}", f"registry.example/p:{number}"],
                 "sizeBytes": 50_000_000 + number}
                for number in range(50)
            ],
        }
    }  # fmt: skip


_THEN = "2026-01-01T00:00:00Z"
_CHART = {"name": "program", "version": "1.2.3", "component": "frontend", "part-of": "suite", "managed-by": "Helm"}
_NODE_ANNOTATIONS = {
    "node.alpha.kubernetes.io/ttl": "0",
    "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    "csi.volume.kubernetes.io/nodeid": '{"csi.example":"node"}',
}


def _node_labels(name: str) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/region": "somewhere",
        "topology.kubernetes.io/zone": "somewhere-1",
        "node.kubernetes.io/instance-type": "large",
    }
