"""The plan of leases for clusters beyond this machine: how long it takes, how even it is, what the loss of a node moves. No API server."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scale.results import Case
from l2announce.control.placement import Plan, plan


def measure_plan(programs: Path, directory: Path, services: int, nodes: int) -> Case:  # noqa: ARG001 - called as every case is
    """All nodes are candidates for all Services; then one of them is gone."""
    case = Case(f"the plan of {services} Services on {nodes} nodes", {"services": services, "nodes": nodes})
    names = [f"node-{number:04}" for number in range(nodes)]
    first_s, whole = _timed(services, names)
    again_s, _ = _timed(services, names)
    gone = names[nodes // 2]
    _, without = _timed(services, [name for name in names if name != gone])
    orphans = {lease for lease, order in whole.orders.items() if order[0] == gone}
    moved = {lease for lease, order in whole.orders.items() if without.orders[lease][0] != order[0]}
    heirs = Counter(whole.orders[lease][1] for lease in orphans)
    shares = [whole.loads.get(name, 0) for name in names]
    case.figures |= {
        "plan_first_s": first_s,
        "plan_again_s": again_s,
        "least_share": min(shares),
        "greatest_share": max(shares),
        "orphans": len(orphans),
        "most_to_one_heir": max(heirs.values(), default=0),
        "moved_besides": len(moved - orphans),
    }
    return case


def _timed(services: int, nodes: Sequence[str]) -> tuple[float, Plan]:
    """CPU seconds of a plan, and the plan."""
    everybody = frozenset(nodes)
    candidates = {f"cilium-l2announce-default.service-{number:05}": everybody for number in range(services)}
    begun = time.process_time()
    made = plan(candidates)
    return time.process_time() - begun, made
