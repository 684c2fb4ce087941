"""``l2announce move`` and ``drain`` against a cluster that does as it is told: every outcome, each in one line, with its exit code."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from l2announce.agent.settings import Settings
from l2announce.cli import handover
from l2announce.cli.main import main
from l2announce.control.ports import LeaseObserved, LeasesListed
from l2announce.model.lease import ANYBODY, MOVE_TO, Conflict, Lease, LeaseWrite, Unreachable, Verb, WriteOutcome, Written
from l2announce.model.objects import AnnouncementPolicy, ClusterState, LabelSelector, NamespacedName, Node, Service

LEASE, OTHER, DRAIN = "cilium-l2announce-shop.web", "cilium-l2announce-shop.zoo", "l2announce-drain.n1"
REFUSED = "lease kube-system/x: HTTP 403 Forbidden; grant update on leases in namespace kube-system"


def service(name: str, number: int) -> Service:
    """A Service; 0: without an address."""
    addresses = (IPv4Address(f"192.0.2.{number}"),) if number else ()
    return Service(NamespacedName("shop", name), type="LoadBalancer", load_balancer_ips=addresses)


STATE = ClusterState(
    {name: Node(name, {"edge": edge}) for name, edge in (("n1", "yes"), ("n2", "yes"), ("n3", "no"))},
    {each.key: each for each in (service("web", 1), service("also", 0), service("zoo", 2))},
    (),
    {"all": AnnouncementPolicy("all", load_balancer_ips=True, node_selector=LabelSelector((("edge", "yes"),)))},
)
HELD = Lease(LEASE, "n1", 15.0, "7", "then", "long ago", annotations={"l2announce.io/interfaces": "eth0=02:00:00:00:00:01"})
RELEASED = replace(HELD, holder_identity="", resource_version="9", annotations={})
WON = replace(HELD, holder_identity="n2", resource_version="10", annotations={})
RENEWED = replace(HELD, renew_time="now", resource_version="9")


class Bench:
    """A cluster with ``leases``. What is written is kept, answered by ``answer``, and followed by ``then``, in the order of the watch."""

    def __init__(self, leases: Iterable[Lease] | None = (HELD,), *then: LeaseObserved | LeasesListed, state: ClusterState | None = STATE):
        self.writes: list[LeaseWrite] = []
        self.deleted: list[str] = []
        self.closed: list[str] = []
        self.settings: list[Settings] = []
        self.answer: Callable[[LeaseWrite], WriteOutcome] = written
        self.delete_answer: WriteOutcome = Written(Lease(DRAIN, "", 0.0, ""))
        self._leases, self._then, self._state = leases, then, state
        self._wrote = asyncio.Event()

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncIterator[tuple["Bench", "Bench"]]:
        """Instead of open_cluster."""
        self.settings.append(settings)
        yield self, self

    async def states(self) -> AsyncIterator[ClusterState]:
        """The state, or nothing ever."""
        try:
            while self._state is None:
                await asyncio.sleep(60)
            yield self._state
            raise AssertionError("one is enough")
        finally:
            self.closed.append("states")

    async def watch(self) -> AsyncIterator[LeasesListed | LeaseObserved]:
        """The list, and after the first write what follows."""
        try:
            if self._leases is not None:
                yield LeasesListed(tuple(self._leases))
            await self._wrote.wait()
            for event in self._then:
                yield event
            await asyncio.sleep(60)
        finally:
            self.closed.append("watch")

    async def write(self, write: LeaseWrite) -> WriteOutcome:
        """Keep it."""
        self.writes.append(write)
        self._wrote.set()
        return self.answer(write)

    async def delete(self, name: str) -> WriteOutcome:
        """Keep it."""
        self.deleted.append(name)
        return self.delete_answer


def written(write: LeaseWrite) -> WriteOutcome:
    """As the store accepts an annotation, or creates a lease."""
    if write.base is None:
        return Written(Lease(write.name, write.holder_identity, write.lease_duration, "8"))
    return Written(replace(write.base, resource_version="8", annotations=write.annotations))


def seen(*leases: Lease) -> list[LeaseObserved]:
    """Events of the watch."""
    return [LeaseObserved(lease.name, lease) for lease in leases]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs a command; its exit code, and all that it says."""

    def command(bench: Bench, *arguments: str, cluster: tuple[str, ...] = ("--manifests", str(tmp_path))) -> tuple[int, str]:
        monkeypatch.setattr(handover, "open_cluster", bench.open)
        monkeypatch.setattr(handover, "SIGHT_LIMIT", 0.05)
        monkeypatch.setattr("sys.argv", ["l2announce", *arguments, *cluster])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert said.err.count("\n") == (1 if ended.value.code else 0), said.err
        return int(ended.value.code or 0), said.out + said.err

    return command


Run = Callable[..., tuple[int, str]]
SOON = ("--timeout", "60ms")


@pytest.mark.parametrize(("node", "target"), [(("n2",), "n2"), ((), ANYBODY)])
def test_a_move_is_a_wish_on_the_lease_and_its_fulfilment(run: Run, node: tuple[str, ...], target: str) -> None:
    wished = replace(HELD, resource_version="8", annotations=HELD.annotations | {MOVE_TO: target})
    bench = Bench((HELD,), *seen(wished, RELEASED, WON))
    code, said = run(bench, "move", "shop/web", *node)
    assert (code, said.split(" in ")[0]) == (0, "shop/web: n1 -> n2")
    assert bench.writes == [LeaseWrite(Verb.ANNOTATE, LEASE, "n1", 15.0, HELD, wished.annotations)]
    assert bench.closed == ["states", "watch"]


def test_a_name_alone_is_one_of_default(run: Run) -> None:
    assert run(Bench(), "move", "web") == (2, "l2announce: service default/web: there is none of this name; write NAMESPACE/NAME\n")


def test_a_lease_that_changed_meanwhile_is_asked_for_again(run: Run) -> None:
    bench = Bench((HELD,), *seen(RENEWED, WON))
    outcomes: list[WriteOutcome] = [Conflict(RENEWED)]
    bench.answer = lambda write: outcomes.pop() if outcomes else written(write)
    assert run(bench, "move", "shop/web", "n2")[0] == 0
    assert [write.base for write in bench.writes] == [HELD, RENEWED]


def test_a_lease_that_vanishes_is_waited_for(run: Run) -> None:
    assert run(Bench((HELD,), LeaseObserved(LEASE, None), *seen(WON)), "move", "shop/web", "n2")[0] == 0


@pytest.mark.parametrize(
    ("bench", "node", "code", "words"),
    [
        (Bench(()), "n2", 1, "service shop/web: nobody holds it, so nobody can hand it over; l2announce explain shop/web tells why"),
        (
            Bench((RELEASED,)),
            "n2",
            1,
            "service shop/web: nobody holds it, so nobody can hand it over; l2announce explain shop/web tells why",
        ),
        (Bench(), "n1", 1, "service shop/web: n1 holds it already"),
        (Bench(), "n3", 2, "node 'n3': may not hold shop/web; those that may are n1, n2"),
        (Bench(), "n9", 2, "node 'n9': there is no such node; the nodes are n1, n2, n3"),
        (Bench(), "../n1", 2, "node '../n1': there is no such node; the nodes are n1, n2, n3"),
        (
            Bench((HELD, Lease("l2announce-drain.n2", "l2announce-drain", 1.0, "1"))),
            "n2",
            1,
            "service shop/web: n2 is drained; l2announce drain n2 --undo lets it take leases again",
        ),
        (Bench((HELD,), *seen(RENEWED)), "n2", 1, "shop/web: n1 keeps it; its log says why (is n2 able to hold it?)"),
        (Bench((HELD,), *seen(HELD)), "n2", 1, "service shop/web: not moved within 0.06s; n1 holds it; does the agent of n1 run?"),
        (
            Bench((HELD,), *seen(RELEASED)),
            "n2",
            1,
            "service shop/web: not moved within 0.06s; nobody holds it; l2announce explain tells why",
        ),
        (
            Bench((HELD,), LeasesListed(())),
            "n2",
            1,
            "service shop/web: not moved within 0.06s; nobody holds it; l2announce explain tells why",
        ),
    ],
)
def test_why_nothing_was_moved(run: Run, bench: Bench, node: str, code: int, words: str) -> None:
    assert run(bench, "move", "shop/web", node, *SOON) == (code, f"l2announce: {words}\n")


def test_another_than_the_one_named_took_it(run: Run) -> None:
    state = replace(STATE, nodes={name: replace(node, labels={"edge": "yes"}) for name, node in STATE.nodes.items()})
    code, said = run(Bench((HELD,), *seen(WON), state=state), "move", "shop/web", "n3")
    assert (code, said.splitlines()[1]) == (1, "l2announce: shop/web: n3 did not take it, so n2 did")


@pytest.mark.parametrize("arguments", [("move", "shop/web", "n2"), ("drain", "n1")])
def test_a_store_that_refuses_is_told_with_its_reason(run: Run, arguments: tuple[str, ...]) -> None:
    bench = Bench()
    bench.answer = lambda _: Unreachable(REFUSED)
    assert run(bench, *arguments) == (1, f"l2announce: {REFUSED}\n")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("shop/none", "service shop/none: there is none of this name; write NAMESPACE/NAME"),
        ("a/b/c", "service a/b/c: there is none of this name; write NAMESPACE/NAME"),
        ("", "service default/: there is none of this name; write NAMESPACE/NAME"),
        ("shop/also", "service shop/also: nothing of it is announced; a policy must select it, and it needs an address"),
    ],
)
def test_a_service_that_cannot_be_moved(run: Run, key: str, words: str) -> None:
    bench = Bench()
    assert run(bench, "move", key) == (2, f"l2announce: {words}\n")
    assert not bench.writes


@pytest.mark.parametrize("arguments", [("move", "shop/web", "n2"), ("drain", "n1")])
@pytest.mark.parametrize("flag", ["--manifests", "--kubeconfig"])
def test_a_cluster_that_does_not_answer(run: Run, tmp_path: Path, arguments: tuple[str, ...], flag: str) -> None:
    place = tmp_path
    if flag == "--kubeconfig":
        place = tmp_path / "config"
        place.touch()
    code, said = run(Bench(state=None), *arguments, cluster=(flag, str(place)))
    assert (code, said) == (
        1,
        f"l2announce: {flag} {place}: the cluster did not show its objects within 0.05s; is it there, and may you list and watch nodes, "
        "services, endpointslices and policies?\n",
    )
    bench = Bench(None)
    code, said = run(bench, *arguments, *SOON, cluster=(flag, str(place)))
    assert (code, bench.writes) == (1, [])
    assert said == (
        f"l2announce: {flag} {place}: the cluster did not show its leases within 0.06s, and nothing was changed; "
        "may you list and watch leases?\n"
    )


@pytest.mark.parametrize("command", [("move", "shop/web"), ("drain", "n1")])
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "--manifests DIR or --kubeconfig FILE: give one of them, to say which cluster it is"),
        (("--manifests", "/nowhere"), "--manifests /nowhere: no such directory"),
        (("--kubeconfig", "/nowhere"), "--kubeconfig /nowhere: no such file"),
        (("--manifests", "/", "--timeout", "soon"), "--timeout 'soon': not a duration"),
        (("--manifests", "/", "--timeout", "0"), "--timeout 0: too short for anything to happen; write a time such as 15s"),
        (("--manifests", "/", "--lease-namespace", "a/b"), "--lease-namespace 'a/b': not a namespace name"),
    ],
)
def test_bad_flags(run: Run, command: tuple[str, ...], flags: tuple[str, ...], words: str) -> None:
    bench = Bench()
    code, said = run(bench, *command, cluster=flags)
    assert code == 2
    assert said.startswith(f"l2announce: {words}")
    assert not bench.settings, "the cluster is not even opened"


def test_a_drain_waits_until_others_have_everything(run: Run) -> None:
    """Also what the node took while it was asked, and not the leases of other programs."""
    foreign = Lease("plndr-cp-lock", "n1", 5.0, "1")
    mine, theirs = replace(HELD, name=OTHER), replace(WON, name=OTHER)
    bench = Bench((HELD, foreign), *seen(mine, RELEASED, WON, theirs))
    code, said = run(bench, "drain", "n1")
    assert code == 0
    table, last = [line.split()[:3] for line in said.splitlines()[1:-1]], said.splitlines()[-1]
    assert table == [["shop/web", "n1", "n2"], ["shop/zoo", "n1", "n2"]]
    assert last == "node n1 is drained: it holds nothing until l2announce drain n1 --undo"
    assert bench.writes == [LeaseWrite(Verb.ACQUIRE, DRAIN, "l2announce-drain", 1.0, None)]


def test_a_node_that_holds_nothing_is_drained_at_once(run: Run) -> None:
    drained = "node n1 is drained: it holds nothing until l2announce drain n1 --undo\n"
    assert run(Bench((WON,)), "drain", "n1") == (0, drained)
    again = Bench((WON, Lease(DRAIN, "l2announce-drain", 1.0, "1")))
    assert run(again, "drain", "n1") == (0, drained)
    assert not again.writes, "it is drained already"
    raced = Bench((WON,))
    raced.answer = lambda _: Conflict()
    assert run(raced, "drain", "n1") == (0, drained)


def test_a_lease_that_vanishes_is_nobodys(run: Run) -> None:
    code, said = run(Bench((HELD,), LeaseObserved(LEASE, None), LeaseObserved("gone", None)), "drain", "n1")
    assert (code, said.splitlines()[1].split()[:3]) == (0, ["shop/web", "n1", "-"])


def test_what_nobody_takes_over_is_named(run: Run) -> None:
    unknown = replace(HELD, name="cilium-l2announce-old.gone")
    code, said = run(Bench((HELD, unknown, replace(HELD, name=OTHER)), *seen(RELEASED, replace(WON, name=OTHER))), "drain", "n1", *SOON)
    assert code == 1
    assert said.splitlines()[1].split()[:3] == ["shop/zoo", "n1", "n2"]
    assert said.splitlines()[-1] == (
        "l2announce: node n1: not taken over by anybody within 0.06s: cilium-l2announce-old.gone, shop/web; "
        "it stays drained until l2announce drain n1 --undo"
    )


def test_undo(run: Run) -> None:
    bench = Bench(None)
    assert run(bench, "drain", "n1", "--undo") == (0, "node n1 may hold addresses again\n")
    assert bench.deleted == [DRAIN]
    bench.delete_answer = Conflict()
    assert run(bench, "drain", "n9", "--undo") == (0, "node n9 was not drained\n")
    bench.delete_answer = Unreachable(REFUSED)
    assert run(bench, "drain", "n1", "--undo") == (1, f"l2announce: {REFUSED}\n")


@pytest.mark.parametrize("node", ["../../deployments/x", "", "N1", "n1/"])
def test_only_the_name_of_a_node_becomes_that_of_a_lease(run: Run, node: str) -> None:
    bench = Bench()
    for undo in ((), ("--undo",)):
        code, said = run(bench, "drain", node, *undo)
        assert (code, said) == (2, f"l2announce: node {node!r}: not the name of a node; use lower case letters, digits, '-' and '.'\n")
    assert not bench.deleted
    assert not bench.writes


def test_a_node_that_there_is_not_is_not_drained(run: Run) -> None:
    bench = Bench(state=replace(STATE, nodes={}))
    assert run(bench, "drain", "n9") == (2, "l2announce: node 'n9': there is no such node; the nodes are none\n")
    assert not bench.writes
