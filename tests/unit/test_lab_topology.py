"""topology.yaml: the real file is good, and every bad version is refused by file, field and value."""

from pathlib import Path

import pytest
from netlab.topology import TOPOLOGY_FILE, TopologyError, load_topology

from l2announce.model.timing import Timing


def test_the_lab_s_own_file() -> None:
    topology = load_topology()
    assert [node.name for node in topology.nodes] == ["n1", "n2", "n3"]
    assert [node.backend.name for node in topology.nodes] == ["b1", "b2", "b3"]
    assert topology.switch.multicast_snooping
    assert topology.switch.multicast_querier


def test_the_bound_is_the_program_s_own() -> None:
    settings = load_topology().agents
    duration, renew, retry = (
        float(text.removesuffix("s")) for text in (settings.lease_duration, settings.lease_renew_deadline, settings.lease_retry_period)
    )
    timing = Timing(lease_duration=duration, renew_deadline=renew, retry_period=retry)
    assert settings.failover_bound == pytest.approx(timing.failover_bound)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  bridge: br0", "  brigde: br0", "brigde"),
        ("  bridge: br0\n", "", "bridge"),
        ("multicast_snooping: true", "multicast_snooping: maybe", "multicast_snooping"),
        ("switch:\n", "switch: [\n", "topology.yaml"),
        ("name: n2\n", "name: n1\n", "the name 'n1' is given to 2 hosts"),
        ("name: n2\n", "name: Node-number-two\n", "'Node-number-two' is not 1 to 15 lower case"),
        ("10.99.0.1/24", "10.99.0.1", "client: '10.99.0.1' is no address with prefix length"),
        ("10.99.0.102/24", "10.99.0.302/24", "node n2: '10.99.0.302/24'"),
        ("10.98.3.2/24", "backend/24", "backend b3: 'backend/24'"),
        ("http: 80", "http: 0", "ports.http: 0 is not from 1 to 65535"),
        ("interval: 0.01", "interval: 0.0", "prober.interval: 0 is not above 0"),
        ("askers: 32", "askers: 0", "prober.askers: 0 is not from 1 to 64"),
        ("02:a5:00:00:00:00", "02-a5", "prober.mac: '02-a5'"),
        ("ipv4: 10.99.0.192", "ipv4: 10.99.0", "prober.ipv4: "),
        ('ipv6: "fd99::a5c0"', 'ipv6: "fd99"', "prober.ipv6: "),
        ("lease_duration: 3s", "lease_duration: 3m", "agents.lease_duration: '3m'"),
    ],
)
def test_a_bad_version_is_refused_by_name(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "topology.yaml"
    good = TOPOLOGY_FILE.read_text()
    assert old in good
    path.write_text(good.replace(old, new, 1))
    with pytest.raises(TopologyError) as caught:
        load_topology(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_one_node_is_not_enough(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    text = TOPOLOGY_FILE.read_text()
    path.write_text(text[: text.index("  - name: n2")] + text[text.index("# What backends") :])
    with pytest.raises(TopologyError, match="nodes: there are 1"):
        load_topology(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="nowhere"):
        load_topology(tmp_path / "nowhere.yaml")
