"""The state of one agent as a document."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from l2announce import __version__
from l2announce.agent.conflicts import Conflicts
from l2announce.control.controller import Controller
from l2announce.control.election import LeaseElector
from l2announce.control.groups import Group
from l2announce.control.guard import Guarded
from l2announce.control.states import State
from l2announce.model.address import NEVER, Address, Instant, format_mac
from l2announce.model.lease import INTERFACES_ANNOTATION
from l2announce.model.objects import NamespacedName, ObjectProblem
from l2announce.model.report import AnswerRecord
from l2announce.model.status import AddressStatus, LinkStatus, NodeStatus, ProblemStatus, ServiceStatus

ELECTING = "Electing"
"""Nobody holds the lease, and this node may."""
API_UNREACHABLE = "ApiUnreachable"
CONFLICT = "Conflict"

AnswerRecords = dict[Address, dict[str, AnswerRecord]]
"""What the responder told of each address, by interface."""


def node_status(
    controller: Controller, records: AnswerRecords, now: Instant, conflicts: Conflicts | None = None, trouble: str = ""
) -> NodeStatus:
    """What this node holds, sees and is told, and why it does not announce the rest. ``trouble``: why it cannot reach the leases."""
    report = controller.gate.report
    unreachable = (ObjectProblem("leases", API_UNREACHABLE, trouble),) if trouble else ()
    grouped = [(service, name) for name, group in controller.picture.groups.items() for service in group.services]
    known_conflicts = conflicts or Conflicts()
    services = [_service_status(controller, records, known_conflicts, service, name, now, trouble) for service, name in sorted(grouped)]
    known = {service for service, _ in grouped}
    refused = [
        ServiceStatus(
            str(service),
            tuple(
                AddressStatus(str(address), pool=_pools(controller, service).get(address, ""))
                for address in controller.picture.addresses_of(service)
            ),
            reason=reason.value,
        )
        for service, reason in controller.picture.selection.refusals.items()
        if service not in known
    ]
    return NodeStatus(
        node=controller.node_name,
        version=__version__,
        ready=controller.is_ready,
        gate_open=controller.gate.is_open(now),
        failover_bound=controller.timing.failover_bound,
        restart_bound=controller.timing.restart_bound,
        generation_sent=controller.generation,
        generation_applied=controller.gate.applied,
        services=tuple(sorted((*services, *refused), key=lambda each: each.service)),
        links=tuple(LinkStatus(link.name, format_mac(link.mac), link.carrier) for link in report.links) if report else (),
        problems=tuple(
            ProblemStatus(problem.subject, problem.reason, problem.message)
            for problem in (*controller.picture.problems, *controller.picture.selection.problems, *unreachable)
        ),
        responder_problems=report.problems if report else (),
        verdicts=dict(report.verdicts) if report else {},
        announcements=report.announcements if report else 0,
    )


def _service_status(
    controller: Controller, records: AnswerRecords, conflicts: Conflicts, service: NamespacedName, name: str, now: Instant, trouble: str
) -> ServiceStatus:
    group: Group = controller.picture.groups[name]
    elector = controller.electors.get(name)
    deadline = elector.deadline if elector else None
    held_over = elector is not None and elector.is_held_over
    held = held_over or (deadline is not None and now < deadline)
    holder = controller.node_name if held else _other_holder(controller, elector, name, now)
    known = controller.leases.present(name)
    lease = known if known is not None and known.holder_identity == holder else None
    answering = controller.interfaces(name)
    interfaces = {wanted.address: answering[wanted.address] for wanted in controller.picture.wanted(name) if wanted.service == service}
    guarded = controller.picture.selection.guarded.get(service, {})
    addresses = controller.picture.addresses_of(service)
    claimed = held and bool(interfaces)
    blocker = controller.blocker(name, now)
    refusal = controller.picture.selection.refusals.get(service)
    reason = refusal.value if refusal else blocker.value if blocker else ""
    pools = _pools(controller, service)
    found = tuple(
        replace(
            _address_status(address, interfaces.get(address, frozenset()), records, now, guarded.get(address)),
            conflicts=conflicts.of(address, now) if claimed else (),
            pool=pools.get(address, ""),
        )
        for address in addresses
    )
    in_conflict = claimed and all(_is_held_back(each) for each in found if each.interfaces)
    announced = claimed and not in_conflict
    return ServiceStatus(
        service=str(service),
        addresses=found,
        announced=announced,
        lease=name,
        holder=holder,
        since=lease.acquire_time if lease else "",
        macs=tuple(filter(None, lease.annotations.get(INTERFACES_ANNOTATION, "").split(","))) if lease else (),
        state="" if elector is None else "held over" if held_over else elector.state.value,
        reason="" if announced else CONFLICT if in_conflict else reason or _waiting_reason(controller, holder, trouble),
        deadline=None if deadline is None or held_over else deadline - now,
        shares_with=tuple(str(other) for other in group.services if other != service),
    )


def _pools(controller: Controller, service: NamespacedName) -> Mapping[Address, str]:
    """The pools that the Service's status names."""
    known = controller.picture.cluster.services.get(service)
    return known.pools if known is not None else {}


def _is_held_back(address: AddressStatus) -> bool:
    """Whether strangers have the address on every interface that would announce it."""
    return set(address.interfaces) <= {conflict.interface for conflict in address.conflicts if conflict.held_back}


def _other_holder(controller: Controller, elector: LeaseElector | None, name: str, now: Instant) -> str | None:
    """Who holds a lease that gives this node no right. It names itself only while a responder may answer by what an earlier life told it:
    a lease that is still ours but is being given up, or whose deadline has passed, has nobody who answers."""
    holder = controller.holder(name, now)
    adopts = elector is not None and elector.state is State.RESUMING and not controller.generation and controller.gate.is_open(now)
    return holder if holder != controller.node_name or adopts else None


def _waiting_reason(controller: Controller, holder: str | None, trouble: str) -> str:
    if trouble:
        return API_UNREACHABLE
    return f"HeldBy={holder}" if holder and holder != controller.node_name else ELECTING


def _address_status(
    address: Address, interfaces: Iterable[str], records: AnswerRecords, now: Instant, guarded: Guarded | None
) -> AddressStatus:
    names = tuple(sorted(interfaces))
    here = records.get(address, {}).values()
    last = max((record.last_answer for record in here), default=NEVER)
    return AddressStatus(
        address=str(address),
        interfaces=names,
        answers=sum(record.answers for record in here),
        last_answer=None if last == NEVER else now - last,
        announcements=sum(record.announcements for record in here),
        guarded=guarded.reason.value if guarded else "",
    )
