"""The cases: what is set up, what is waited for, what is counted. Each gives figures by name; nothing here judges them."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

from netlab.waiting import wait_until

from benchmarks.scale.audit import (
    AuditLog,
    Request,
    by_kind,
    holders,
    is_lease_write,
    is_service_lease,
    lease_writes,
    polls,
    service_holders,
)
from benchmarks.scale.bed import SERVICES, Bed
from benchmarks.scale.objects import address_of, service, service_name
from benchmarks.scale.results import Case
from benchmarks.scale.usage import cpu_seconds, memory_mib
from benchmarks.scale.wire import ASKER, Client, Watcher
from l2announce.model.lease import ANYBODY, MOVE_TO

ELECTION_SECONDS = 120.0
"""How long a cluster may take to elect everything."""
MANY = 5000
MANY_NODES = 200
HELD = 500
LATE = 7.0
"""Seconds between two writes of a held lease from which the second is late: the renew deadline and one retry period."""
SETTLE = 6.0
"""Seconds after an election in which each lease is renewed once."""
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
MOVE = {"metadata": {"annotations": {MOVE_TO: ANYBODY}}}
FIRST_SAMPLE = 20_000
"""Number of the first Service that is created to see it announced."""


def measure_requests(programs: Path, directory: Path, agents: int, services: int, idle: float) -> Case:
    """Cold start, idle, and the failover of a crashed agent, of ``agents`` agents that share ``services`` Services."""
    case = Case(f"{agents} agents, {services} Services", {"agents": agents, "services": services})
    with Bed(programs, directory, agents, announcers=agents) as bed:
        bed.create_services(range(services), announced=True)
        log, began = bed.audit(), time.time()
        bed.announce()
        bed.start()
        wait_elected(log, services)
        case.figures["cold_start_s"] = max(item.at for item in log.requests if item.verb == "create") - began
        case.figures["first_to_last_lease_s"] = _span([item.at for item in log.requests if item.is_ok and item.verb == "create"])
        case.counts["start"] = by_kind(log.requests)
        time.sleep(SETTLE)
        _measure_idle(case, bed, log, idle)
        _measure_failover(case, bed, log)
    return case


def _measure_idle(case: Case, bed: Bed, log: AuditLog, idle: float) -> None:
    traffic, cpu = {name: bed.traffic(name) for name in bed.agents}, {name: _cpu(bed, name) for name in bed.agents}
    requests = log.during(lambda: time.sleep(idle))
    received = [(bed.traffic(name) - before).received_octets for name, before in traffic.items()]
    sent = [(bed.traffic(name) - before).sent_octets for name, before in traffic.items()]
    used = [_cpu(bed, name) - before for name, before in cpu.items()]
    case.counts["idle"] = by_kind(requests)
    case.figures |= {
        "idle_lease_writes_per_s": lease_writes(requests) / idle,
        "idle_polls": polls(requests),
        "idle_other_requests": len(requests) - lease_writes(requests) - polls(requests),
        "idle_received_octets_per_s_and_agent": sum(received) / len(received) / idle,
        "idle_sent_octets_per_s_and_agent": sum(sent) / len(sent) / idle,
        "idle_events_per_s_and_agent": lease_writes(requests) / idle,
        "idle_core_percent_per_agent": 100 * sum(used) / len(used) / idle,
    }


def _measure_failover(case: Case, bed: Bed, log: AuditLog) -> None:
    """Crash the agent that holds most."""
    owners = holders(log.requests)
    victim = max(bed.agents, key=list(owners.values()).count)
    orphans = [name for name, owner in owners.items() if owner == victim]
    before, crashed = len(log.requests), time.time()
    bed.agents[victim].crash()
    wait_until(lambda: victim not in holders(log.read()).values(), ELECTION_SECONDS, "every orphan to be elected", interval=0.1)
    requests = log.requests[before:]
    taken = [_first(requests, name, victim, crashed) for name in orphans]
    case.counts["failover"] = by_kind(requests)
    case.figures |= {
        "failover_leases": len(orphans),
        "failover_last_taken_s": max(taken) - crashed,
        "failover_polls": polls(requests),
        "failover_conflicts": sum(1 for item in requests if item.code == 409),
        "failover_peak_requests_per_s": _peak(requests),
    }


def measure_large(programs: Path, directory: Path, services: int, nodes: int, held: int, announcers: int, idle: float) -> Case:
    """CPU and memory of the busiest of ``announcers`` agents that share ``held`` of many Services, and of one that only watches."""
    sizes = {"services": services, "nodes": nodes, "held": held, "announcers": announcers}
    case = Case(f"{services} Services, {nodes} Nodes, {held} announced by {announcers}", sizes)
    with Bed(programs, directory, announcers + 1, announcers=announcers) as bed:
        bed.create_nodes((f"node-{number:03}" for number in range(nodes - announcers - 1)), announcer=False)
        bed.create_services(range(held), announced=True)
        bed.create_services(range(held, services), announced=False)
        log, began = bed.audit(), time.time()
        bed.announce()
        bed.start()
        wait_elected(log, held)
        case.figures["cold_start_s"] = max(item.at for item in log.requests if item.verb == "create") - began
        case.counts["start"] = by_kind(log.requests)
        time.sleep(SETTLE)
        owners = list(holders(log.requests).values())
        busiest, idler = max(bed.agents, key=owners.count), list(bed.agents)[-1]
        case.figures["announcing_leases"] = owners.count(busiest)
        pids = {"announcing": bed.agents[busiest].both_pids(), "watching": bed.agents[idler].both_pids()}
        before = {role: cpu_seconds(of) for role, of in pids.items()}
        traffic = bed.traffic(idler)
        requests = log.during(lambda: time.sleep(idle))
        watched = bed.traffic(idler) - traffic
        writes = lease_writes(requests) / idle
        case.counts["idle"] = by_kind(requests)
        for role, of in pids.items():
            case.figures |= {
                f"{role}_core_percent": 100 * (cpu_seconds(of) - before[role]) / idle,
                f"{role}_mib": memory_mib(of),
                f"{role}_control_mib": memory_mib(of[:1]),
                f"{role}_responder_mib": memory_mib(of[1:]),
                f"{role}_peak_mib": memory_mib(of, field="VmHWM"),
            }
        case.figures |= {
            "idle_lease_writes_per_s": writes,
            "idle_polls": polls(requests),
            "watching_received_octets_per_s": watched.received_octets / idle,
            "octets_per_event": watched.received_octets / idle / writes if writes else 0.0,
        }
    return case


def measure_election(programs: Path, directory: Path, agents: int, services: int, idle: float, mode: str = "service") -> Case:
    """All agents run beside free Services when the policy comes: how soon every one is elected, how evenly, what keeping them costs.

    A lease is late when its holder, or in mode ``node`` its holder's heartbeat, was not written for LATE.
    """
    case = Case(f"{agents} agents, {services} Services, mode {mode}", {"agents": agents, "services": services})
    with Bed(programs, directory, agents, announcers=agents, flags=("--lease-mode", mode)) as bed:
        bed.create_services(range(services), announced=True)
        log, started = bed.audit(), time.time()
        bed.start()
        bed.wait_ready()
        began = time.time()
        bed.announce()
        wait_elected(log, services)
        won = sorted(item.at for item in log.requests if is_service_lease(item) and item.verb == "create")
        case.counts["start"] = by_kind(log.requests)
        time.sleep(SETTLE)
        elected = service_holders(log.read())
        shares = Counter(elected.values())
        cpu = {name: _cpu(bed, name) for name in bed.agents}
        server = cpu_seconds(bed.plane.pids())
        begun = time.time()
        requests = log.during(lambda: time.sleep(idle))
        used = [_cpu(bed, name) - before for name, before in cpu.items()]
        case.counts["idle"] = by_kind(requests)
        case.figures |= {
            "agents_start_s": began - started,
            "election_s": won[-1] - began,
            "first_to_last_lease_s": won[-1] - won[0],
            "least_share": min(shares[name] for name in bed.agents),
            "greatest_share": max(shares.values()),
            "moved": sum(1 for name, holder in service_holders(log.requests).items() if elected[name] != holder),
            "late": sum(1 for gap in _gaps(requests, begun, begun + idle) if gap > LATE),
            "longest_gap_s": max(_gaps(requests, begun, begun + idle)),
            "writes_per_s": lease_writes(requests) / idle,
            "polls": polls(requests),
            "busiest_core_percent": 100 * max(used) / idle,
            "agents_core_percent": 100 * sum(used) / idle,
            "server_core_percent": 100 * (cpu_seconds(bed.plane.pids()) - server) / idle,
        }
    return case


def _gaps(requests: Iterable[Request], begin: float, end: float) -> Iterator[float]:
    """The times between two writes of each lease that was written, within a span of time."""
    written: dict[str, list[float]] = {}
    for item in requests:
        if is_lease_write(item):
            written.setdefault(item.name, [begin]).append(item.at)
    for times in written.values():
        yield from (later - earlier for earlier, later in pairwise((*times, end)))


def measure_reaction(programs: Path, directory: Path, agents: int, services: int, samples: int) -> Case:
    """From the API server's acknowledgement of a Service to its first announcement on the wire, one Service at a time."""
    case = Case(f"{samples} Services created beside {services}, {agents} agents", {"agents": agents, "services": services})
    with Bed(programs, directory, agents, announcers=agents) as bed:
        bed.create_services(range(services), announced=True)
        log = bed.audit()
        bed.announce()
        bed.start()
        wait_elected(log, services)
        time.sleep(SETTLE)
        with Watcher(bed.switch, tuple(bed.agents)) as watcher:
            for number in range(FIRST_SAMPLE, FIRST_SAMPLE + samples):
                asked = time.time_ns()
                bed.api.send(("POST", SERVICES, service(number, announced=True)))
                acknowledged = time.time_ns()
                seen = watcher.wait_announced(address_of(number), 10.0)
                case.samples.setdefault("from_acknowledgement_ms", []).append((seen - acknowledged) / 1e6)
                case.samples.setdefault("from_request_ms", []).append((seen - asked) / 1e6)
    return case


def measure_hand_over(programs: Path, directory: Path, agents: int, services: int, samples: int) -> Case:
    """One address after the other is moved to any other node, as ``l2announce move`` asks for it, under the eyes of a client."""
    case = Case(f"{samples} hand-overs among {services} Services, {agents} agents", {"agents": agents, "services": services})
    with Bed(programs, directory, agents, announcers=agents) as bed:
        host = bed.network.namespace("client")
        bed.network.attach(bed.switch, "br0", host)
        host.address("eth0", f"{ASKER}/16")
        bed.create_services(range(services), announced=True)
        log = bed.audit()
        bed.announce()
        bed.start()
        wait_elected(log, services)
        time.sleep(SETTLE)
        with Client(host) as client:
            for number in (sample % services for sample in range(samples)):
                order = ("PATCH", f"{LEASES}/cilium-l2announce-default.{service_name(number)}", MOVE)
                gap, changes = client.watch_move(address_of(number), partial(bed.api.send, order), 30.0)
                case.samples.setdefault("blackout_ms", []).append(gap * 1000)
                case.samples.setdefault("changes_of_owner", []).append(changes)
    return case


def wait_elected(log: AuditLog, count: int) -> None:
    """Wait until so many Leases were written."""

    def elected() -> bool:
        return len(service_holders(log.read())) >= count

    wait_until(elected, ELECTION_SECONDS, f"{count} Services to be elected", interval=0.1)


def _cpu(bed: Bed, name: str) -> float:
    return cpu_seconds(bed.agents[name].both_pids())


def _first(requests: Iterable[Request], name: str, victim: str, otherwise: float) -> float:
    """When another than ``victim`` first wrote the Lease."""
    times = (item.at for item in requests if item.name == name and item.user != victim and item.is_ok)
    return min(times, default=otherwise)


def _span(times: list[float]) -> float:
    return max(times) - min(times)


def _peak(requests: list[Request]) -> int:
    """The most requests that were answered within one second."""
    times = sorted(item.at for item in requests)
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
