"""Which Services get addresses from us, and what exactly each of them wants; who may share an address with whom."""

from dataclasses import dataclass

from l2announce.model.address import Address
from l2announce.model.pools import BalancedService

L2_CLASS = "io.cilium/l2-announcer"
BGP_CLASS = "io.cilium/bgp-control-plane"
ANY_NAMESPACE = "*"


@dataclass(frozen=True, slots=True)
class IpamSettings:
    """``classless``: whether Services without a class are ours (``defaultLBServiceIPAM`` is lbipam). ``classes`` are those that are.
    ``families`` are the IP versions that the cluster has."""

    classless: bool = True
    classes: frozenset[str] = frozenset((L2_CLASS, BGP_CLASS))
    families: tuple[int, ...] = (4, 6)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a Service wants: exactly the addresses ``requested``, or where there are none one address of each of ``families``."""

    requested: tuple[Address, ...]
    families: tuple[int, ...]

    def missing(self, held: tuple[Address, ...]) -> tuple[tuple[Address, ...], tuple[int, ...]]:
        """The requested addresses, and the families, that ``held`` does not have."""
        if self.requested:
            return tuple(address for address in self.requested if address not in held), ()
        return (), tuple(family for family in self.families if all(address.version != family for address in held))

    def wants(self, address: Address, held: tuple[Address, ...]) -> bool:
        """Whether it wants an address beside those that it has."""
        if self.requested:
            return address in self.requested and address not in held
        return address.version in self.missing(held)[1]


def is_ours(service: BalancedService, settings: IpamSettings) -> bool:
    """Whether the Service's addresses are our work."""
    if service.type != "LoadBalancer":
        return False
    return settings.classless if service.load_balancer_class is None else service.load_balancer_class in settings.classes


def demand_of(service: BalancedService, settings: IpamSettings) -> Demand:
    """What the Service wants. A request for certain addresses overrules the families."""
    requested = tuple(dict.fromkeys(service.requested))
    if requested or service.unreadable:
        return Demand(requested, ())
    return Demand((), _families(service, settings))


def _families(service: BalancedService, settings: IpamSettings) -> tuple[int, ...]:
    if service.family_policy == "RequireDualStack":
        return tuple(dict.fromkeys((*service.families, 4, 6)))
    listed = tuple(dict.fromkeys(service.families))
    if service.family_policy == "PreferDualStack":
        return tuple(family for family in listed or settings.families if family in settings.families)
    return (listed or settings.families)[:1]


def why_not_shared(one: BalancedService, other: BalancedService) -> str:
    """Why two Services may not have one address; "" when they may."""
    if not one.sharing_key or one.sharing_key != other.sharing_key:
        return "different sharing key"
    if one.key.namespace != other.key.namespace and not (_permits(one, other) and _permits(other, one)):
        return "different and not permitted namespace"
    if one.ports & other.ports:
        return "same port and protocol"
    if one.traffic_policy != other.traffic_policy:
        return "different ExternalTrafficPolicy"
    if one.traffic_policy == "Local":
        if not one.pod_selector or not other.pod_selector:
            return "ExternalTrafficPolicy local but a service has no selector"
        if one.pod_selector != other.pod_selector and not (one.shares_across_pods and other.shares_across_pods):
            return (
                "ExternalTrafficPolicy local but selecting different set of pods without lbipam.cilium.io/sharing-permit-different-pods "
                "on both services"
            )
    return ""


def _permits(one: BalancedService, other: BalancedService) -> bool:
    return ANY_NAMESPACE in one.shares_with or other.key.namespace in one.shares_with
