"""What an agent serves at /metrics, read as Prometheus reads it."""

from ipaddress import IPv4Address

import pytest
from prometheus_client.parser import text_string_to_metric_families

from l2announce.agent.metrics import Metrics, Sources
from l2announce.control.controller import Controller
from l2announce.model.lease import Conflict, Lease, LeaseWrite, Unreachable, Verb, Written
from l2announce.model.link import Device, Link
from l2announce.model.objects import AnnouncementPolicy, ClusterState, NamespacedName, Node, Service
from l2announce.model.report import Report
from l2announce.model.timing import Timing

LINK = Link(1, "eth0", b"\2\0\0\0\0\1")
DEVICE = Device(1, "eth0", addresses=(IPv4Address("192.0.2.200"),), has_default_route=True, has_global_unicast_route=True)
LEASE_A = "cilium-l2announce-shop.a"


class Bench:
    """A node that holds one Service of four."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.trouble = ""
        self.conflicts = 0
        self.without_owner: int | None = None
        self.controller = Controller("n1", Timing(), self.now)
        names = {"a": "192.0.2.1", "b": "192.0.2.2", "none": "", "foreign": "192.0.2.4"}
        services = {
            (key := NamespacedName("shop", name)): Service(
                key,
                type="LoadBalancer",
                load_balancer_class="example.com/other" if name == "foreign" else None,
                load_balancer_ips=(IPv4Address(address),) if address else (),
            )
            for name, address in names.items()
        }
        state = ClusterState({"n1": Node("n1")}, services, policies={"all": AnnouncementPolicy("all", load_balancer_ips=True)})
        self.controller.replace_cluster(state, self.now)
        self.controller.replace_devices((DEVICE,), self.now)
        self.controller.leases_listed([Lease("cilium-l2announce-shop.b", "n2", 15.0, "7")], self.now)
        sources = Sources(
            self.controller,
            now=lambda: self.now,
            api_trouble=lambda: self.trouble,
            leases_heard_at=lambda: 998.0,
            active_conflicts=lambda: self.conflicts,
            events_dropped=lambda: 3,
            without_owner=lambda: self.without_owner,
        )
        self.metrics = Metrics(sources)
        self.report(-1)
        for write in self.controller.next_writes(self.now):
            lease = Lease(write.name, write.holder_identity, write.lease_duration, "100")
            self.controller.write_succeeded(write.name, lease, self.now, self.now)
        self.controller.next_writes(self.now)
        claims = self.controller.claim_set(self.now)
        assert claims is not None
        self.metrics.claims_sent(claims.generation, len(claims.claims))

    def report(self, generation: int | None = None) -> None:
        applied = self.controller.generation if generation is None else generation
        report = Report(applied, self.now, (LINK,), verdicts=(("answered", 5), ("not claimed", 7)), announcements=4)
        self.controller.receive_report(report, self.now)

    def read(self) -> dict[str, float]:
        """Every sample; labels, in the order of their names, after the name."""
        found = {}
        for family in text_string_to_metric_families(self.metrics.render().decode()):
            for sample in family.samples:
                found[" ".join((sample.name, *(sample.labels[label] for label in sorted(sample.labels))))] = sample.value
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_is_so(bench: Bench) -> None:
    found = bench.read()
    wanted = {
        "l2announce_ready": 1,
        "l2announce_gate_open": 1,
        "l2announce_api_reachable": 1,
        "l2announce_lease_watch_age_seconds": 2,
        "l2announce_failover_bound_seconds": 17,
        "l2announce_restart_bound_seconds": 8.5,
        "l2announce_leases_held": 1,
        "l2announce_lease_age_seconds": 0,
        "l2announce_claims desired": 1,
        "l2announce_claims applied": 0,
        "l2announce_verdicts_total answered": 5,
        "l2announce_verdicts_total not claimed": 7,
        "l2announce_announcements_total": 4,
        "l2announce_services Announces": 1,
        "l2announce_services HeldBy": 1,
        "l2announce_services NoAddress": 1,
        "l2announce_services Class": 1,
        "l2announce_events_dropped_total": 3,
        "l2announce_policy_problems": 0,
        "l2announce_conflicts_active": 0,
    }
    assert {name: found[name] for name in wanted} == wanted
    assert "l2announce_services_without_owner" not in found, "told by the one that looks"
    assert any(name.startswith("process_cpu_seconds_total") for name in found)


def test_what_changes(bench: Bench) -> None:
    bench.report()
    bench.now += 4.0
    bench.trouble, bench.conflicts, bench.without_owner = "no connection", 2, 3
    found = bench.read()
    assert found["l2announce_claims applied"] == 1
    assert found["l2announce_lease_age_seconds"] == pytest.approx(4.0)
    assert (found["l2announce_api_reachable"], found["l2announce_gate_open"]) == (0, 0)
    assert (found["l2announce_conflicts_active"], found["l2announce_services_without_owner"]) == (2, 3)
    bench.now += 20.0
    found = bench.read()
    assert found["l2announce_services ResponderNotAnswering"] >= 1


def test_writes_by_outcome_late_renewals_and_failovers(bench: Bench) -> None:
    base = Lease(LEASE_A, "n2", 15.0, "1")
    renew, acquire = LeaseWrite(Verb.RENEW, LEASE_A, "n1", 15.0, base), LeaseWrite(Verb.ACQUIRE, LEASE_A, "n1", 15.0, base)
    written = Written(Lease(LEASE_A, "n1", 15.0, "2"))
    bench.metrics.write_ended(renew, written, 107.0, 100.0, 107.1)
    assert bench.read()["l2announce_lease_renewals_late_total"] == 0
    bench.metrics.write_ended(renew, written, 107.1, 100.0, 107.2)
    bench.metrics.write_ended(renew, Unreachable("no"), 120.0, 100.0, 121.0)
    bench.metrics.write_ended(acquire, Conflict(), 120.0, 100.0, 120.1)
    bench.metrics.write_ended(acquire, written, 116.9, 100.0, 117.0)
    bench.metrics.write_ended(LeaseWrite(Verb.ACQUIRE, LEASE_A, "n1", 15.0, None), written, 116.9, 100.0, 117.0)
    found = bench.read()
    assert found["l2announce_lease_renewals_late_total"] == 1
    assert found["l2announce_lease_writes_total Written renew"] == 2
    assert found["l2announce_lease_writes_total Unreachable renew"] == 1
    assert found["l2announce_lease_writes_total Conflict acquire"] == 1
    assert found["l2announce_lease_writes_total Written acquire"] == 2
    assert (found["l2announce_failover_seconds_count"], found["l2announce_failover_seconds_sum"]) == (1, 17)


def test_changes_of_ownership_and_conflicts(bench: Bench) -> None:
    bench.metrics.ownership_changed("announced", "Won")
    bench.metrics.ownership_changed("withdrawn", "HeldBy=n2")
    bench.metrics.conflict_began()
    found = bench.read()
    assert found["l2announce_ownership_transitions_total Won announced"] == 1
    assert found["l2announce_ownership_transitions_total HeldBy withdrawn"] == 1, "no node is a label"
    assert found["l2announce_conflicts_total"] == 1
