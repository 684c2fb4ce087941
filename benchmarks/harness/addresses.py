"""What LB-IPAM's decisions cost: CPU of the allocator alone, for sizes that an operator may meet. The kernel has no part in this.

What the program needs besides, to read Services and to write their statuses, is measured on an API server: ``make scale CASE=addresses``.
"""

import json
import subprocess
import sys
import time

from benchmarks.harness.cases import Bench
from benchmarks.harness.results import Result
from l2announce.ipam.allocator import Allocator
from l2announce.model.objects import NamespacedName
from l2announce.model.pools import AddressPool, BalancedService, Block

SERVICES = 10_000
POOLS = (Block("10.0.0.0/8"), Block("fd00::/64"))
MEMORY = """
import json, resource, sys
from benchmarks.harness.addresses import POOLS, allocator
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept = allocator(0)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""
"""A process of its own, as what a process once had it keeps: KiB that pools cost."""


def measure_addresses(bench: Bench) -> Result:
    """10,000 dual-stack Services without an address, one more, an edit of the pool, and the same after a restart."""
    result = bench.result("addresses")
    for _ in range(bench.effort.starts):
        began = time.process_time()
        filled = allocator(SERVICES)
        filled.settle()
        all_seconds = time.process_time() - began
        began = time.process_time()
        filled.set_service(service(SERVICES))
        filled.settle()
        one_ms = (time.process_time() - began) * 1000
        began = time.process_time()
        filled.replace_pools((pool(Block("192.0.2.0/24")),))
        filled.settle()
        edit_seconds = time.process_time() - began
        known = [service(number, filled) for number in range(SERVICES)]
        again = Allocator()
        began = time.process_time()
        again.replace_pools((pool(),))
        again.replace_services(known)
        again.settle()
        adopt_seconds = time.process_time() - began
        done = subprocess.run((sys.executable, "-c", MEMORY), check=True, capture_output=True, text=True, timeout=60)
        kib = json.loads(done.stdout)
        result.add(
            "program", all_s=all_seconds, one_more_ms=one_ms, pool_edit_s=edit_seconds, restart_s=adopt_seconds, empty_pools_mib=kib / 1024
        )
    return result


def allocator(services: int) -> Allocator:
    """A /8 and a /64, and so many Services of both families, undecided."""
    made = Allocator()
    made.replace_pools((pool(),))
    made.replace_services(service(number) for number in range(services))
    return made


def pool(*more: Block) -> AddressPool:
    """The pool of the measurement."""
    return AddressPool("all", (*POOLS, *more))


def service(number: int, given: Allocator | None = None) -> BalancedService:
    """A Service by number, with the addresses that ``given`` gave it."""
    key = NamespacedName("default", f"s{number:05}")
    ingress = given.decisions[key].addresses if given is not None else ()
    return BalancedService(key, uid=str(number), families=(4, 6), family_policy="RequireDualStack", ingress=ingress)
