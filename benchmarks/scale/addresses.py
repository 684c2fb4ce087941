"""What an operator costs: Services that all wait for addresses when it starts, then some that come one by one, then a restart."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from netlab.agents import PROGRAM
from netlab.build import WITH_PARENT
from netlab.topology import REPOSITORY
from netlab.waiting import wait_until

from benchmarks.scale.audit import Request
from benchmarks.scale.bed import SERVICES, Bed, binding
from benchmarks.scale.objects import Document
from benchmarks.scale.results import Case
from benchmarks.scale.usage import cpu_seconds, memory_mib

CRD = "customresourcedefinition/ciliumloadbalancerippools.cilium.io"
POOL: Document = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumLoadBalancerIPPool",
    "metadata": {"name": "all"},
    "spec": {"blocks": [{"cidr": "10.0.0.0/8"}, {"cidr": "fd00::/64"}]},
}
ROLE = "l2announce-operator"
PATIENCE = 300.0
QUIET, QUIET_CPU = 2.0, 0.02
"""The operator is done when it has used no more than so many seconds of CPU in so many seconds."""


def measure_addresses(programs: Path, directory: Path, services: int, samples: int) -> Case:
    """``services`` dual-stack Services get their addresses from one operator; ``samples`` more come, one at a time."""
    case = Case(f"{services} Services get addresses", {"services": services})
    with Bed(programs, directory, 1, announcers=0) as bed:
        bed.plane.kubectl("wait", "--for=condition=Established", CRD)
        bed.plane.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "policies" / "rbac-operator.yaml"))
        bed.plane.apply(POOL, binding(ROLE, "ClusterRole", {}), binding(ROLE, "Role", {"namespace": "kube-system"}))
        bed.api.send_all([("POST", SERVICES, _service(number)) for number in range(services)])
        log = bed.audit()
        with _operator(bed, directory) as process:
            began = time.time()
            wait_until(lambda: sum(map(_is_status, log.read())) >= services, PATIENCE, "every Service to be written to", interval=0.5)
            case.figures["given_cpu_s"] = _cpu_at_rest(process)
            writes = [item for item in log.read() if _is_status(item)]
            case.figures["given_s"] = max(item.at for item in writes) - began
            case.figures["writes"] = len(writes)
            case.figures["memory_mib"] = memory_mib([process.pid])
            case.figures["without"] = sum(len(_addresses(one)) != 2 for one in bed.api.get(SERVICES)["items"] if _waits(one))
            before = cpu_seconds([process.pid])
            for number in range(services, services + samples):
                asked = time.monotonic()
                bed.api.send(("POST", SERVICES, _service(number)))
                path = f"{SERVICES}/{_name(number)}"
                wait_until(partial(_has_both, bed, path), 10, f"{path} to have addresses", interval=0.002)
                case.samples.setdefault("one_more_ms", []).append((time.monotonic() - asked) * 1000)
            case.figures["one_more_cpu_ms"] = (cpu_seconds([process.pid]) - before) * 1000 / samples
        before_restart = sum(map(_is_status, log.read()))
        with _operator(bed, directory) as process:
            case.figures["restart_cpu_s"] = _cpu_at_rest(process)
            case.figures["restart_writes"] = sum(map(_is_status, log.read())) - before_restart
    return case


@contextmanager
def _operator(bed: Bed, directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """An operator that leads; it lets the lease go at the end."""
    (host,) = (agent.namespace for agent in bed.agents.values())
    log = directory / "operator.log"
    command = (str(PROGRAM), "operator", "--kubeconfig", str(bed.plane.kubeconfig(host.name)), "--log-format", "json")
    with log.open("wb") as file:
        process = host.popen(*WITH_PARENT, *command, "--metrics-address", "none", stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        wait_until(lambda: '"leading"' in log.read_text(), PATIENCE, "the operator to lead", interval=0.1)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _cpu_at_rest(process: "subprocess.Popen[bytes]") -> float:
    """Seconds of CPU since the start of the process, once it needs none any more."""

    def at_rest() -> float:
        before = cpu_seconds([process.pid])
        time.sleep(QUIET)
        after = cpu_seconds([process.pid])
        return after if after - before <= QUIET_CPU else 0.0

    return wait_until(at_rest, PATIENCE, "the operator to be done")


def _is_status(item: Request) -> bool:
    return item.is_ok and (item.verb, item.resource) == ("patch", "services")


def _has_both(bed: Bed, path: str) -> bool:
    return len(_addresses(bed.api.get(path))) == 2


def _name(number: int) -> str:
    return f"s{number:05}"


def _waits(service: dict[str, Any]) -> bool:
    return bool(service["spec"]["type"] == "LoadBalancer")


def _addresses(service: dict[str, Any]) -> list[str]:
    return [entry["ip"] for entry in service["status"]["loadBalancer"].get("ingress", [])]


def _service(number: int) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _name(number), "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": False,
            "ipFamilyPolicy": "RequireDualStack",
            "ipFamilies": ["IPv4", "IPv6"],
            "ports": [{"port": 80}],
        },
    }
