"""What must hold of every plan, whatever the groups, their candidates and their wishes."""

from collections import Counter
from collections.abc import Iterator, Mapping

from hypothesis import given
from hypothesis import strategies as st

from l2announce.control.placement import SHORTLIST, Plan, plan

POOL = tuple(f"node-{number}" for number in range(SHORTLIST + 6))
FEW = POOL[:6]
Candidates = dict[str, frozenset[str]]

names = st.text("abcdef.-0123456789", min_size=1, max_size=12)
some_nodes = st.frozensets(st.sampled_from(FEW), min_size=1)
many_nodes = st.integers(SHORTLIST - 1, len(POOL)).map(lambda count: frozenset(POOL[:count]))
mixed = st.dictionaries(names, st.one_of(some_nodes, some_nodes, many_nodes), max_size=40)
alike = st.builds(
    lambda groups, nodes: dict.fromkeys((f"group-{number}" for number in groups), nodes),
    st.frozensets(st.integers(0, 10_000), min_size=1, max_size=60),
    st.frozensets(st.sampled_from(FEW), min_size=2),
)
wishes = st.dictionaries(names, st.lists(st.sampled_from((*FEW, "no-node")), max_size=4), max_size=5)


def first(found: Plan) -> dict[str, str]:
    """The first choice of each group."""
    return {name: order[0] for name, order in found.orders.items()}


def by_size(able: Mapping[str, frozenset[str]]) -> Iterator[tuple[frozenset[str], list[str]]]:
    """The sets of candidates, smallest first, and the groups that have each."""
    for nodes in sorted(set(able.values()), key=lambda nodes: (len(nodes), sorted(nodes))):
        yield nodes, [name for name, each in able.items() if each == nodes]


def away(candidates: Candidates) -> set[str]:
    """The groups that are not with their best scored candidate, for want of room. Alone, each group would be."""
    chosen = first(plan(candidates))
    return {name for name, nodes in candidates.items() if chosen[name] != plan({name: nodes}).orders[name][0]}


@given(mixed, st.data())
def test_each_group_has_one_first_choice_of_its_own_candidates(candidates: Candidates, data: st.DataObject) -> None:
    fit = {name: data.draw(st.frozensets(st.sampled_from(sorted(nodes)))) for name, nodes in candidates.items() if data.draw(st.booleans())}
    found = plan(candidates, fit)
    assert found.orders.keys() == candidates.keys()
    assert found.loads == Counter(first(found).values())
    for name, order in found.orders.items():
        assert len(set(order)) == len(order) == min(len(candidates[name]), SHORTLIST)
        assert set(order) <= candidates[name]
        able = fit.get(name) or candidates[name]
        assert set(order[: len(able)]) <= able, "those that can serve come before those that cannot"


@given(mixed, wishes)
def test_within_a_set_of_candidates_loads_are_level(candidates: Candidates, wished: dict[str, list[str]]) -> None:
    """Sets are placed from the smallest: after each, no node that it used is more than one above any that it could have used."""
    chosen = first(plan(candidates, None, wished))
    bound = {name for name, nodes in candidates.items() if any(node in nodes for node in wished.get(name, ()))}
    loads = Counter(chosen[name] for name in bound)
    for nodes, members in by_size({name: nodes for name, nodes in candidates.items() if name not in bound}):
        used = {chosen[name] for name in members}
        loads.update(chosen[name] for name in members)
        assert max(loads[node] for node in used) <= min(loads[node] for node in nodes) + 1


@given(st.lists(st.tuples(names, st.integers(1, len(FEW))), max_size=60, unique_by=lambda pair: pair[0]))
def test_nobody_is_above_its_share_who_has_a_choice(sizes: list[tuple[str, int]]) -> None:
    """Where of two sets of candidates one holds the other, this is true of the whole: a group whose node has two more than another of its
    candidates does not exist."""
    candidates = {name: frozenset(FEW[:size]) for name, size in sizes}
    found = plan(candidates)
    for name, node in first(found).items():
        assert all(found.loads[node] <= found.loads.get(other, 0) + 1 for other in candidates[name])


@given(alike)
def test_with_equal_candidates_all_shares_are_even_and_so_are_those_of_the_heirs(candidates: Candidates) -> None:
    found = plan(candidates)
    nodes = next(iter(candidates.values()))
    assert {found.loads.get(node, 0) for node in nodes} <= {len(candidates) // len(nodes), -(-len(candidates) // len(nodes))}
    for lost in nodes:
        heirs = Counter(order[1] for order in found.orders.values() if order[0] == lost)
        shares = [heirs[node] for node in nodes - {lost}]
        assert max(shares) <= min(shares) + 1


@given(mixed, wishes, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(candidates: Candidates, wished: dict[str, list[str]], random: object) -> None:
    def shuffled(mapping: Mapping[str, object]) -> list[str]:
        keys = list(mapping)
        random.shuffle(keys)  # type: ignore[attr-defined]
        return keys

    again = {name: frozenset(shuffled(dict.fromkeys(candidates[name]))) for name in shuffled(candidates)}
    found, other = plan(candidates, None, wished), plan(again, None, {name: wished[name] for name in shuffled(wished)})
    assert (found.orders, found.loads) == (other.orders, other.loads)


@given(alike, st.data())
def test_a_node_that_goes_or_comes_moves_little_else(candidates: Candidates, data: st.DataObject) -> None:
    """Besides what it had, or gets, only groups move that even shares keep from their best candidate, before or after: a group that is with
    its best has the same best among fewer nodes. How many those are, test_placement.py bounds for usual numbers."""
    nodes = next(iter(candidates.values()))
    node = data.draw(st.sampled_from(sorted(nodes)))
    fewer = dict.fromkeys(candidates, nodes - {node}) if len(nodes) > 1 else candidates
    before, after = first(plan(candidates)), first(plan(fewer))
    moved = {name for name in candidates if before[name] not in (node, after[name])}
    assert moved <= away(candidates) | away(fewer)
    had = {name for name in candidates if before[name] == node}
    assert len(had) <= -(-len(candidates) // len(nodes))


@given(alike, wishes, st.data())
def test_preferred_candidates_come_first_in_their_order(candidates: Candidates, others: dict[str, list[str]], data: st.DataObject) -> None:
    drawn = {name: data.draw(st.lists(st.sampled_from((*FEW, "no-node")), max_size=4)) for name in sorted(candidates)[:8]}
    found = plan(candidates, None, others | drawn)
    for name, wished in drawn.items():
        able = [node for node in dict.fromkeys(wished) if node in candidates[name]]
        assert list(found.orders[name][: len(able)]) == able
    assert found.loads == Counter(first(found).values())


@given(mixed, some_nodes)
def test_without_who_let_go_ranks_count_the_others_alone(candidates: Candidates, nodes: frozenset[str]) -> None:
    found = plan(candidates)
    for name, order in found.orders.items():
        for gone in nodes:
            left = [node for node in order if node != gone]
            assert [found.rank(name, node, without=gone) for node in left] == list(range(len(left)))
