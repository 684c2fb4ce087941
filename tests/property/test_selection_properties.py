"""What must hold for selection, groups and placement whatever the objects are."""

from dataclasses import replace
from ipaddress import IPv4Address
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from l2announce.control.devices import Candidates, candidate_devices
from l2announce.control.groups import LeaseNameStyle, group_leases, shared_address_groups
from l2announce.control.placement import candidates_of, candidates_of_groups
from l2announce.control.policy import select
from l2announce.model.link import Device
from l2announce.model.objects import (
    AnnouncementPolicy,
    ClusterState,
    Endpoint,
    LabelSelector,
    NamespacedName,
    Node,
    Requirement,
    Service,
)
from l2announce.model.selector import check, matches, parse_selector

VALUES = ("a", "b", "c", "")
KEYS = ("app", "zone", "io.kubernetes.service.namespace")
VIPS = tuple(IPv4Address(f"192.0.2.{number}") for number in range(1, 13))
NAMES = tuple(NamespacedName(namespace, name) for namespace in ("a", "a-a", "a-a-a") for name in ("a", "a-a", "a-a-a"))

labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
some_values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=3).map(tuple)
requirements = st.one_of(
    st.builds(Requirement, st.sampled_from(KEYS), st.sampled_from(("In", "NotIn")), some_values),
    st.builds(Requirement, st.sampled_from(KEYS), st.sampled_from(("Exists", "DoesNotExist"))),
)
selectors = st.builds(LabelSelector, st.just(()), st.lists(requirements, max_size=2).map(tuple)) | st.none()
any_selectors = selectors | st.builds(LabelSelector, st.just((("!", "bad"),)), st.just(()))
vips = st.lists(st.sampled_from(VIPS), max_size=3).map(tuple)
services = st.builds(
    Service,
    st.sampled_from(NAMES),
    labels,
    st.dictionaries(st.sampled_from(("service.cilium.io/node-selector",)), st.sampled_from(("zone=a", "!zone", "(")), max_size=1),
    st.sampled_from(("ClusterIP", "LoadBalancer", "LoadBalancer", "LoadBalancer")),
    st.sampled_from((None, None, None, "other/class")),
    vips,
    vips,
    external_traffic_policy=st.sampled_from(("Cluster", "Cluster", "Local")),
)
policies = st.builds(
    AnnouncementPolicy,
    st.sampled_from(("p", "q", "r")),
    service_selector=any_selectors,
    node_selector=any_selectors,
    interfaces=st.lists(st.sampled_from(("^eth", "1$", "(")), max_size=2).map(tuple),
    external_ips=st.booleans(),
    load_balancer_ips=st.booleans(),
)
endpoints = st.builds(
    Endpoint, st.sampled_from(NAMES), st.sampled_from((None, "n1", "n2")), st.booleans(), st.booleans(), terminating=st.booleans()
)
nodes = st.builds(
    Node,
    st.sampled_from(("n1", "n2", "n3")),
    labels,
    ready=st.sampled_from(("", "True", "False", "Unknown")),
    network_unavailable=st.booleans(),
    out_of_service=st.booleans(),
    unschedulable=st.booleans(),
    deleting=st.booleans(),
)
devices = st.builds(
    Device,
    st.integers(1, 9),
    st.sampled_from(("eth0", "eth1", "wan1")),
    kind=st.sampled_from(("", "veth")),
    addresses=st.sampled_from(((), (VIPS[0],))),
    has_global_unicast_route=st.booleans(),
)
states = st.builds(
    lambda nodes, services, endpoints, policies: ClusterState(
        {node.name: node for node in nodes},
        {service.key: service for service in services},
        tuple(endpoints),
        {policy.name: policy for policy in policies},
    ),
    st.lists(nodes, max_size=3),
    st.lists(services, max_size=9),
    st.lists(endpoints, max_size=6),
    st.lists(policies, max_size=3),
)
device_lists = st.lists(devices, max_size=3, unique_by=lambda device: device.name)
CANDIDATES = Candidates(frozenset({"eth0"}), (Device(2, "eth0"), Device(3, "eth1")))


def shuffled(state: ClusterState, random: st.DataObject) -> ClusterState:
    """The same state with everything in another order."""

    def reorder(service: Service) -> Service:
        return replace(
            service,
            external_ips=tuple(random.draw(st.permutations(service.external_ips))),
            load_balancer_ips=tuple(random.draw(st.permutations(service.load_balancer_ips))),
            labels=dict(reversed(service.labels.items())),
        )

    return ClusterState(
        dict(random.draw(st.permutations(list(state.nodes.items())))),
        {key: reorder(service) for key, service in random.draw(st.permutations(list(state.services.items())))},
        tuple(random.draw(st.permutations(state.endpoints))),
        dict(random.draw(st.permutations(list(state.policies.items())))),
    )


@given(states, device_lists, st.data())
def test_selection_and_groups_depend_on_no_order(state: ClusterState, links: list[Device], data: st.DataObject) -> None:
    other, other_links = shuffled(state, data), data.draw(st.permutations(links))
    candidates = candidate_devices(links, ())
    assert candidate_devices(other_links, ()) == candidates
    selection = select(state, "n1", candidates)
    shuffled_selection = select(other, "n1", candidates)
    assert shuffled_selection == selection
    assert list(shuffled_selection.refusals) == list(selection.refusals)
    groups = shared_address_groups(state)
    assert shared_address_groups(other) == groups
    assert candidates_of_groups(groups, other) == candidates_of_groups(groups, state)


@given(states)
def test_every_service_of_interest_is_announced_or_refused(state: ClusterState) -> None:
    selection = select(state, "n1", CANDIDATES)
    announced = {each.service for each in selection.announcements}
    assert not announced & set(selection.refusals)
    assert announced | set(selection.refusals) == {
        key for key, each in state.services.items() if each.type == "LoadBalancer" or each.external_ips or each.load_balancer_ips
    }
    assert all(each.interfaces for each in selection.announcements)
    assert len({(each.service, each.address) for each in selection.announcements}) == len(selection.announcements)


@given(states)
def test_what_a_node_announces_is_in_a_group_that_it_is_a_candidate_of(state: ClusterState) -> None:
    group_of = {service: group for group in shared_address_groups(state) for service in group.services}
    for name in state.nodes:
        for each in select(state, name, CANDIDATES).announcements:
            group = group_of[each.service]
            assert each.address in group.addresses
            assert name in candidates_of(group, state)


@given(states)
def test_groups_partition_services_and_addresses(state: ClusterState) -> None:
    groups = shared_address_groups(state)
    for one, other in combinations(groups, 2):
        assert not set(one.services) & set(other.services)
        assert not one.addresses & other.addresses
    assert all(group.services == tuple(sorted(set(group.services))) and group.addresses for group in groups)
    assert {key for group in groups for key in group.services} <= set(state.services)


@given(states, st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(VIPS))
def test_services_that_share_an_address_are_in_one_group(
    state: ClusterState, one: NamespacedName, other: NamespacedName, vip: IPv4Address
) -> None:
    sharing = {key: Service(key, type="LoadBalancer", load_balancer_ips=(vip,)) for key in (one, other)}
    policy = AnnouncementPolicy("z", load_balancer_ips=True)
    groups = shared_address_groups(replace(state, services=state.services | sharing, policies=state.policies | {"z": policy}))
    (group,) = (group for group in groups if vip in group.addresses)
    assert {one, other} <= set(group.services)


@given(states, labels)
def test_an_unrelated_service_changes_no_other_group(state: ClusterState, its_labels: dict[str, str]) -> None:
    key = NamespacedName("b", "unrelated")
    unrelated = Service(key, its_labels, type="LoadBalancer", load_balancer_ips=(IPv4Address("203.0.113.1"),))
    groups = shared_address_groups(replace(state, services={key: unrelated} | state.services))
    assert tuple(group for group in groups if key not in group.services) == shared_address_groups(state)
    assert all(group.services == (key,) for group in groups if key in group.services)


@given(states, st.sampled_from(("dot", "dash")))
def test_leases_hold_every_group_once(state: ClusterState, style: LeaseNameStyle) -> None:
    groups = shared_address_groups(state)
    leases = group_leases(groups, style)
    assert sorted(key for group in leases.groups.values() for key in group.services) == sorted(
        key for group in groups for key in group.services
    )
    assert {group.deciding_service for group in groups} >= {group.deciding_service for group in leases.groups.values()}
    assert len(groups) == len(leases.groups) + sum(len(services) - 1 for services in leases.clashes.values())
    assert not (style == "dot" and leases.clashes)


@given(st.sampled_from(KEYS), some_values, labels)
def test_negative_operators_complement_positive_ones(key: str, values: tuple[str, ...], its_labels: dict[str, str]) -> None:
    def holds(operator: str, values: tuple[str, ...] = ()) -> bool:
        return matches(LabelSelector(match_expressions=(Requirement(key, operator, values),)), its_labels)

    assert holds("Exists") is not holds("DoesNotExist")
    assert holds("In", values) is not holds("NotIn", values)
    assert holds("Exists") or holds("NotIn", values)


@given(selectors, labels)
def test_a_selector_written_as_text_matches_the_same(selector: LabelSelector | None, its_labels: dict[str, str]) -> None:
    written = {"In": "{} in ({})", "NotIn": "{} notin ({})", "Exists": "{}", "DoesNotExist": "!{}"}
    expressions = selector.match_expressions if selector else ()
    text = ", ".join(written[each.operator].format(each.key, ",".join(each.values) or ",") for each in expressions)
    parsed = parse_selector(text)
    assert check(parsed) is None
    assert matches(parsed, its_labels) is matches(selector, its_labels)


@given(st.text(alphabet="ab1/!=<>(), \tin.-é") | st.text())
def test_any_text_is_a_valid_selector_or_a_value_error(text: str) -> None:
    try:
        selector = parse_selector(text)
    except ValueError as err:
        assert repr(text) in str(err)  # noqa: PT017 - a text that parses is as good an outcome
    else:
        assert all(each.operator in ("Gt", "Lt") or check(LabelSelector((), (each,))) is None for each in selector.match_expressions)
