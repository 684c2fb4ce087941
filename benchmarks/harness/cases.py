"""What is measured: each case runs both systems in turn, the kernel first, and keeps every round."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.bed import Bed, Node, ResponderUnderTest, foreign_addresses, owned_addresses, resident_memory
from benchmarks.harness.cores import Quiet, Usage
from benchmarks.harness.load import IN_FLIGHT, Answers, write_targets
from benchmarks.harness.results import Result
from l2announce.model.address import Address

FOREIGN_RATE = 50_000
OWNED_RATE = 100
"""Requests per second for owned addresses beside the flood of foreign ones: one client that asks every 10 ms."""
SIGN_OF_LIFE_RATE = 1
"""The same where only the foreign ones are to cost anything."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long each thing is measured. ``patience``: seconds for waiting until the machine is quiet, in all."""

    rounds: int
    throughput_seconds: float
    latency_seconds: float
    flood_seconds: float
    forwarding_seconds: float
    forwarding_rounds: int
    starts: int
    patience: float
    settle: bool
    """Whether forwarding waits in every round until the responder has announced its addresses; the flood always does."""


FULL = Effort(
    rounds=3,
    throughput_seconds=1.0,
    latency_seconds=1.0,
    flood_seconds=2.0,
    forwarding_seconds=1.0,
    forwarding_rounds=5,
    starts=5,
    patience=90.0,
    settle=True,
)
QUICK = Effort(
    rounds=2,
    throughput_seconds=0.4,
    latency_seconds=0.4,
    flood_seconds=1.0,
    forwarding_seconds=0.6,
    forwarding_rounds=2,
    starts=2,
    patience=5.0,
    settle=False,
)


@dataclass(frozen=True, slots=True)
class SystemUnderTest:
    """The kernel, or a responder process, on a node of its own."""

    name: str
    node: Node
    pid: int | None = None


@dataclass(slots=True)
class Bench:
    """What the cases share."""

    bed: Bed
    effort: Effort
    quiet: Quiet

    @contextmanager
    def both(self, addresses: Sequence[Address]) -> Iterator[tuple[SystemUnderTest, SystemUnderTest]]:
        """A kernel and a responder, each on its own node, that own ``addresses``."""
        kernel, node = self.bed.node(), self.bed.node()
        kernel.assign(addresses)
        responder = ResponderUnderTest.start(node, self.bed.scratch)
        try:
            responder.claim(addresses)
            yield SystemUnderTest("kernel", kernel), SystemUnderTest("responder", node, responder.process.pid)
        finally:
            responder.stop()
            self.bed.remove(kernel)
            self.bed.remove(node)

    def ask(self, system: SystemUnderTest, protocol: str, targets: Path, *options: str) -> tuple[Answers, Usage]:
        """Ask a system on a machine that is as quiet as patience allows."""
        return self.quiet.measure(system.pid, lambda: system.node.asker(protocol).ask(targets, *options))

    def result(self, case: str) -> Result:
        """A new result, and a clean record of disturbances for it."""
        self.quiet.disturbed = 0.0
        return Result(case)

    def close(self, result: Result) -> Result:
        """Note in the result how much it was disturbed."""
        result.disturbed = self.quiet.disturbed
        return result


def measure_answers(bench: Bench, protocol: str, count: int, scattered: bool = False) -> Result:
    """Throughput and CPU with IN_FLIGHT requests on their way, latency with one, for ``count`` owned addresses."""
    addresses = owned_addresses(protocol, count, scattered)
    targets = write_targets(bench.bed.scratch / "owned", addresses)
    result = bench.result(f"{protocol} {count}{' scattered' if scattered else ''}")
    with bench.both(addresses) as systems:
        for _ in range(bench.effort.rounds):
            for system in systems:
                many, used = bench.ask(
                    system, protocol, targets, "--window", str(IN_FLIGHT), "--seconds", str(bench.effort.throughput_seconds)
                )
                one, _ = bench.ask(system, protocol, targets, "--window", "1", "--seconds", str(bench.effort.latency_seconds))
                result.add(
                    system.name,
                    answers_per_second=many.answers_per_second,
                    cpu_us=used.work * 1e6 / max(1, many.answered_in_all),
                    p50_us=one.latency_us.p50,
                    p99_us=one.latency_us.p99,
                    p999_us=one.latency_us.p999,
                    wrong=many.lost + many.bad + many.unasked + many.late + one.lost + one.bad + one.unasked + one.late,
                )
        for system in systems:
            if system.pid is not None:
                result.add(system.name, memory_mib=resident_memory(system.pid))
    return bench.close(result)


def measure_flood(bench: Bench, owned_rate: int = SIGN_OF_LIFE_RATE, count: int = 1000) -> Result:
    """CPU while FOREIGN_RATE requests per second ask for addresses of nobody here, and what becomes of ``owned_rate`` for owned ones.

    The responder has announced its addresses by then, which takes it a frame each millisecond: a cost of winning them, not of the flood.
    With OWNED_RATE the CPU is that of the answers as well, each of which wakes a sleeping process.
    """
    owned = write_targets(bench.bed.scratch / "owned", owned_addresses("arp", count))
    foreign = write_targets(bench.bed.scratch / "foreign", foreign_addresses())
    flood = ("--foreign", str(foreign), "--foreign-rate", str(FOREIGN_RATE), "--rate", str(owned_rate))
    result = bench.result("flood" if owned_rate == SIGN_OF_LIFE_RATE else f"flood, {owned_rate} owned/s")
    with bench.both(owned_addresses("arp", count)) as systems:
        systems[1].node.wait_announced()
        for _ in range(bench.effort.rounds):
            for system in systems:
                answers, used = bench.ask(system, "arp", owned, *flood, "--seconds", str(bench.effort.flood_seconds))
                seconds = answers.foreign_sent_in_all / FOREIGN_RATE
                result.add(
                    system.name,
                    core_percent=100 * used.work / seconds,
                    process_percent=100 * used.process / seconds,
                    foreign_per_second=answers.foreign_sent_in_all / seconds,
                    asked=answers.sent,
                    lost=answers.sent - answers.answered,
                )
    return bench.close(result)
