"""How long it takes from a start, and from winning a lease, to the first answer; and what memory the two processes hold then.

The client asks every millisecond from before the start, so its first answer is when the address can be reached. The kernel has no part in
this: an address that it owns is answered at once.
"""

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from netlab.agents import children
from netlab.namespaces import NamespaceError

from benchmarks.harness.bed import DEVICE, Node, ResponderUnderTest, owned_addresses, resident_memory
from benchmarks.harness.cases import Bench
from benchmarks.harness.cores import ANSWERING_CORE
from benchmarks.harness.load import Answers, write_targets
from benchmarks.harness.results import Result
from l2announce.manifests.leases import read_leases

ASKS_PER_SECOND = 1000
RESPONDER_SECONDS = 1.5
AGENT_SECONDS = 4.0
"""How long the client asks: until a start is well over."""

MANIFESTS = """
apiVersion: v1
kind: Node
metadata: {{name: n1}}
---
apiVersion: cilium.io/v2alpha1
kind: CiliumL2AnnouncementPolicy
metadata: {{name: all}}
spec: {{loadBalancerIPs: true}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: {address}}}]}}}}
"""


def measure_responder_start(bench: Bench) -> Result:
    """From the start of the responder process, told at once what to answer, to its first answer."""
    addresses = owned_addresses("arp", 1)
    targets = write_targets(bench.bed.scratch / "owned", addresses)
    result = bench.result("responder start")
    for _ in range(bench.effort.starts):
        node = bench.bed.node()
        asking = _ask(node, targets, RESPONDER_SECONDS)
        started = time.time()
        responder = ResponderUnderTest.start(node, bench.bed.scratch)
        responder.claim(addresses)
        answers = _finish(node, asking)
        result.add("program", start_to_answer_ms=(answers.first_answer - started) * 1000)
        responder.stop()
        bench.bed.remove(node)
    return bench.close(result)


def measure_start(bench: Bench) -> Result:
    """From the start of a whole agent, and from winning its first lease, to the first answer; memory of both processes after it."""
    address = owned_addresses("arp", 1)[0]
    targets = write_targets(bench.bed.scratch / "owned", (address,))
    result = bench.result("start")
    for _ in range(bench.effort.starts):
        node = bench.bed.node()
        with TemporaryDirectory(dir=bench.bed.scratch) as directory:
            manifests = Path(directory, "manifests")
            manifests.mkdir()
            (manifests / "all.yaml").write_text(MANIFESTS.format(address=address))
            asking = _ask(node, targets, AGENT_SECONDS)
            started = time.time()
            agent = _start_agent(node, manifests, Path(directory, "agent.sock"))
            answers = _finish(node, asking)
            won = _acquired(manifests)
            memory = [resident_memory(pid) for pid in (agent.pid, *children(agent.pid))]
            result.add(
                "program",
                start_to_answer_ms=(answers.first_answer - started) * 1000,
                lease_to_answer_ms=(answers.first_answer - won) * 1000,
                control_mib=memory[0],
                responder_mib=memory[1],
            )
            agent.terminate()
            agent.wait(timeout=5)
        bench.bed.remove(node)
    return bench.close(result)


def _ask(node: Node, targets: Path, seconds: float) -> "subprocess.Popen[str]":
    return node.asker("arp").start(targets, "--rate", str(ASKS_PER_SECOND), "--seconds", str(seconds), "--warm-up", "0")


def _finish(node: Node, asking: "subprocess.Popen[str]") -> Answers:
    answers = node.asker("arp").finish(asking)
    if not answers.first_answer:
        raise NamespaceError(f"no answer came within {answers.seconds:.1f} s of asking; is the machine overloaded?")
    return answers


def _start_agent(node: Node, manifests: Path, socket: Path) -> "subprocess.Popen[bytes]":
    program = Path(sys.executable).with_name("l2announce")
    flags = ("--node-name", "n1", "--manifests", str(manifests), "--state-socket", str(socket), "--devices", f"^{DEVICE}$")
    agent = node.namespace.popen(str(program), "agent", *flags, "--log-level", "error", stdin=subprocess.DEVNULL)
    os.sched_setaffinity(agent.pid, {ANSWERING_CORE})
    return agent


def _acquired(manifests: Path) -> float:
    """When the one lease was won, in seconds since 1970: stamped just before it was written, so the time since then is counted in full."""
    (lease,) = read_leases(manifests, "kube-system")
    return datetime.fromisoformat(lease.acquire_time).timestamp()
