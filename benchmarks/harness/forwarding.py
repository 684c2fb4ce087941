"""What the responder costs IPv6 traffic that its node forwards: the same datagrams through one router, with and without one."""

from pathlib import Path

from netlab.namespaces import Namespace

from benchmarks.harness.bed import DEVICE, Bed, Node, ResponderUnderTest, owned_addresses
from benchmarks.harness.cases import Bench
from benchmarks.harness.load import write_targets
from benchmarks.harness.results import Result

RATE = 100_000
"""Datagrams per second: what the router forwards on one core with room to spare."""
CLAIMS = 100
SINK_ADDRESS = "fd00:77::2"


def _sink(bed: Bed, router: Node) -> Namespace:
    """A namespace behind the router that drops what it gets: the destination is not its own address, and it does not forward."""
    sink = bed.namespace("sink")
    bed.wire(sink, DEVICE, router.namespace, "eth1")
    router.namespace.address("eth1", "fd00:77::1/64")
    mac = sink.mac(DEVICE).hex(":")
    router.namespace.ip(f"-6 neighbor add {SINK_ADDRESS} lladdr {mac} dev eth1 nud permanent")
    return sink


def _received(sink: Namespace) -> int:
    """Frames that have come to the sink."""
    with sink.entered():
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
            if line.strip().startswith(f"{DEVICE}:"):
                return int(line.split()[2])
    return 0


def measure_forwarding(bench: Bench) -> Result:
    """Core time per forwarded datagram without ("kernel") and with a responder that owns CLAIMS IPv6 addresses on the incoming interface.

    The responder is started and ended between rounds, on the same router, so that nothing else differs.
    """
    router = bench.bed.node(forwarding=True)
    sink = _sink(bench.bed, router)
    targets = write_targets(bench.bed.scratch / "sink", (SINK_ADDRESS,))
    options = ("--rate", str(RATE), "--seconds", str(bench.effort.forwarding_seconds), "--warm-up", "0")

    def send() -> tuple[int, int]:
        before = _received(sink)
        sent = router.asker("udp6").ask(targets, *options).sent_in_all
        return sent, _received(sink) - before

    result = bench.result("forwarding")
    for _ in range(bench.effort.forwarding_rounds):
        for name in ("kernel", "responder"):
            responder = ResponderUnderTest.start(router, bench.bed.scratch) if name == "responder" else None
            if responder is not None:
                responder.claim(owned_addresses("ndp", CLAIMS))
                if bench.effort.settle:
                    router.wait_announced()
            (sent, forwarded), used = bench.quiet.measure(responder.process.pid if responder else None, send)
            if responder is not None:
                responder.stop()
            result.add(name, cpu_us=used.work * 1e6 / sent, undelivered=sent - forwarded)
    bench.bed.remove(router)
    return bench.close(result)
