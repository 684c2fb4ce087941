"""Who has which address, and who waits: pools and Services in, for each Service of ours a Decision out.

An address once given stays for as long as its Service wants it and a pool that selects the Service has it. What Services say that they
have is adopted before anything is given out. Of those who want the same the oldest is served first, and gets the lowest address that is
free; so the outcome depends on what there is, not on the order in which it was told, but for what was given before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from l2announce.ipam.demand import Demand, IpamSettings, demand_of, is_ours, why_not_shared
from l2announce.ipam.pools import CheckedPool, PoolBook
from l2announce.ipam.ranges import Range, Taken, to_address
from l2announce.ipam.refusals import SATISFIED, Refusal, RefusalReason
from l2announce.model.address import Address
from l2announce.model.objects import NamespacedName
from l2announce.model.pools import AddressPool, BalancedService


@dataclass(frozen=True, slots=True)
class Decision:
    """What the status of a Service shall be: its addresses, in order, and None or what of its wish is not fulfilled. ``pools`` are the
    names of the pools that they are of."""

    addresses: tuple[Address, ...]
    refusal: Refusal | None = SATISFIED
    pools: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a pool is given out. ``used`` counts what is reserved."""

    total: int
    used: int

    @property
    def available(self) -> int:
        """What is left."""
        return self.total - self.used


class Allocator:
    """Tell it of pools and Services, call ``settle``, then read ``decisions``. While there was never a pool it decides nothing."""

    def __init__(self, settings: IpamSettings = IpamSettings()) -> None:  # noqa: B008 - frozen
        self._settings = settings
        self.book = PoolBook()
        self.services: dict[NamespacedName, BalancedService] = {}
        self.decisions: dict[NamespacedName, Decision] = {}
        self._holders: dict[Address, list[NamespacedName]] = {}
        self._taken = {4: Taken(), 6: Taken()}
        self._held: dict[NamespacedName, tuple[Address, ...]] = {}
        self._sharing: dict[str, dict[Address, None]] = {}
        self._sharing_key: dict[Address, str] = {}
        self._waiting: set[NamespacedName] = set()
        self._dirty: set[NamespacedName] = set()
        self._pools: tuple[AddressPool, ...] = ()
        self._pools_changed = False
        self._awake = False

    # -- what is told

    def replace_pools(self, pools: Iterable[AddressPool]) -> None:
        """These are all pools there are."""
        told = tuple(sorted(pools, key=lambda pool: pool.age))
        if told != self._pools:
            self._pools, self._pools_changed = told, True
            self.book = PoolBook.of(told)
            self._awake = self._awake or bool(told)

    def replace_services(self, services: Iterable[BalancedService]) -> None:
        """These are all Services there are."""
        told = {service.key: service for service in services}
        for key in self.services.keys() - told.keys():
            self.remove_service(key)
        for service in told.values():
            self.set_service(service)

    def set_service(self, service: BalancedService) -> None:
        """A Service as it is now."""
        if self.services.get(service.key) != service:
            self._dirty.add(service.key)
        self.services[service.key] = service  # also where it wants the same: what is written is for the version that was seen last

    def remove_service(self, key: NamespacedName) -> None:
        """A Service is gone. One that is not known is no error."""
        if self.services.pop(key, None) is not None:
            self._dirty.add(key)

    # -- what comes of it

    def settle(self) -> set[NamespacedName]:
        """Decide. The Services whose decision may be another than before."""
        if not self._awake:
            return set()
        touched = set(self.services) if self._pools_changed else {key for key in self._dirty if key in self.services}
        freed = self._pools_changed
        changed = {key for key in self._dirty if key not in self.services}
        self._dirty, self._pools_changed = set(), False
        for key in changed:
            freed = self._hold(key, (), None) or freed
            self.decisions.pop(key, None)
            self._waiting.discard(key)
        ordered = sorted((self.services[key] for key in touched), key=lambda service: service.age)
        for service in ordered:
            freed = self._keep_what_is_valid(service) or freed
        again = self._waiting - touched if freed else set()
        for service in sorted((*ordered, *(self.services[key] for key in again)), key=lambda service: service.age):
            self._serve(service)
        return changed | touched | again

    def adopt(self) -> set[NamespacedName]:
        """Before the first ``settle``: adopt what the statuses say. The Services of ours that lack something."""
        for service in sorted((self.services[key] for key in self._dirty & self.services.keys()), key=lambda service: service.age):
            self._keep_what_is_valid(service)
        ours = (service for service in self.services.values() if self._awake and is_ours(service, self._settings))
        return {one.key for one in ours if any(demand_of(one, self._settings).missing(self._held.get(one.key, ())))}

    def usage(self) -> Mapping[str, Usage]:
        """How full each pool is, by its name. Addresses that are in two ranges count in both."""
        return {one.pool.name: self._usage(one) for one in self.book.pools}

    def free(self, pool: str) -> list[tuple[Address, Address]]:
        """The stretches of a pool that can be given, first and last address. KeyError for no such pool."""
        ranges = self.book.by_name()[pool].ranges
        return [
            (to_address(each.version, first), to_address(each.version, last))
            for each in ranges
            for first, last in self._taken[each.version].free(each)
        ]

    def holders(self, address: Address) -> tuple[NamespacedName, ...]:
        """The Services that have an address."""
        return tuple(self._holders.get(address, ()))

    # -- keeping

    def _keep_what_is_valid(self, service: BalancedService) -> bool:
        """Let the Service keep, of what it has and of what its status says, what it may. Whether an address became free."""
        before = self._held.get(service.key, ())
        kept: tuple[Address, ...] = ()
        if is_ours(service, self._settings):
            demand = demand_of(service, self._settings)
            for address in dict.fromkeys((*before, *service.ingress)):
                if demand.wants(address, kept) and self._may_have(service, address):
                    kept = (*kept, address)
        return self._hold(service.key, kept, service)

    def _may_have(self, service: BalancedService, address: Address) -> bool:
        """Whether an address that the Service says it has is one that it may go on having."""
        if not any(one.selects(service) for one in self.book.containing(address)):
            return False
        return not self._why_not_with(service, address)

    def _why_not_with(self, service: BalancedService, address: Address) -> str:
        """Why the Service may not have an address together with those who have it; "" when it may."""
        others = [self.services[key] for key in self._holders.get(address, ()) if key != service.key and key in self.services]
        return next(filter(None, (why_not_shared(service, other) for other in others)), "")

    def _hold(self, key: NamespacedName, addresses: tuple[Address, ...], service: BalancedService | None) -> bool:
        """The Service has exactly these from now on. Whether one became free."""
        before = self._held.pop(key, ())
        freed = False
        for address in before:
            if address not in addresses:
                freed = self._drop(key, address) or freed
        for address in addresses:
            holders = self._holders.setdefault(address, [])
            if key not in holders:
                if not holders:
                    self._taken[address.version].add(int(address))
                holders.append(key)
            if service is not None and service.sharing_key != self._sharing_key.get(address, ""):
                self._share(address, service.sharing_key)
        if addresses:
            self._held[key] = addresses
        return freed

    def _drop(self, key: NamespacedName, address: Address) -> bool:
        """The Service no longer has the address. Always a chance for somebody: it is free, or shared by one fewer."""
        holders = self._holders[address]
        holders.remove(key)
        if not holders:
            del self._holders[address]
            self._taken[address.version].remove(int(address))
            self._share(address, "")
        return True

    def _share(self, address: Address, sharing_key: str) -> None:
        """The address is shared under this key from now on; "" for none. Who has it together has it under one key."""
        if before := self._sharing_key.pop(address, ""):
            del self._sharing[before][address]
            if not self._sharing[before]:
                del self._sharing[before]
        if sharing_key:
            self._sharing_key[address] = sharing_key
            self._sharing.setdefault(sharing_key, {})[address] = None

    # -- giving

    def _serve(self, service: BalancedService) -> None:
        """Give the Service what it lacks, if that can be, and decide."""
        key = service.key
        if not is_ours(service, self._settings):
            self._waiting.discard(key)
            self.decisions.pop(key, None)
            return
        demand = demand_of(service, self._settings)
        refusal = self._give(service, demand)
        if service.unreadable and refusal is None:
            words = ", ".join(map(repr, service.unreadable))
            refusal = Refusal(RefusalReason.INVALID_REQUEST, f"{words}: not an IP address; correct the annotation or loadBalancerIP")
        held = self._held.get(key, ())
        self.decisions[key] = Decision(held, refusal, tuple(self.book.containing(address)[0].pool.name for address in held))
        (self._waiting.add if refusal else self._waiting.discard)(key)

    def _give(self, service: BalancedService, demand: Demand) -> Refusal | None:
        """Give what is missing; the last refusal, None when nothing is missing any more."""
        refusal: Refusal | None = None
        addresses, families = demand.missing(self._held.get(service.key, ()))
        asked = [self._why_not(service, address) or address for address in addresses]
        for found in (*asked, *(self._find(service, family) for family in families)):
            if isinstance(found, Refusal):
                refusal = found
            else:
                self._hold(service.key, (*self._held.get(service.key, ()), found), service)
        return refusal

    def _why_not(self, service: BalancedService, address: Address) -> Refusal | None:
        """Why the Service cannot have the address that it asks for; None when it can."""
        containing = [one for one in self.book.containing(address) if one.gives]
        if not containing:
            return Refusal(RefusalReason.NO_POOL, f"no pool that gives out addresses has {address}; ask for another, or add it to a pool")
        if not any(one.selects(service) for one in containing):
            names = ", ".join(one.pool.name for one in containing)
            return Refusal(RefusalReason.SELECTOR, f"{address} is in pool {names}, which is not for this Service; see its serviceSelector")
        if self.book.is_reserved(address):
            return Refusal(RefusalReason.TAKEN, f"{address} is the first or last of its block, which allowFirstLastIPs: No keeps back")
        if address in self._holders:
            names = ", ".join(map(str, self._holders[address]))
            if not service.sharing_key:
                return Refusal(RefusalReason.TAKEN, f"{address} is given to {names}; ask for another, or share it by a sharing key")
            if why := self._why_not_with(service, address):
                return Refusal(RefusalReason.INCOMPATIBLE, f"{address} is given to {names}: {why}")
        return None

    def _find(self, service: BalancedService, family: int) -> Address | Refusal:
        """An address of a family for the Service: one that it may share, else the lowest that is free, of the oldest pool that has one."""
        shared = self._sharing.get(service.sharing_key, {}) if service.sharing_key else {}
        for address in shared:
            if address.version == family and self._why_not(service, address) is None:
                return address
        matching = [(one, each) for one in self._for(service) for each in one.ranges if each.version == family]
        for _, each in matching:
            if (number := self._lowest_free(each)) is not None:
                return to_address(family, number)
        if matching:
            names = ", ".join(dict.fromkeys(one.pool.name for one, _ in matching))
            return Refusal(RefusalReason.OUT_OF_IPS, f"no IPv{family} address is left in pool {names}; widen it, or add a pool")
        named = f" among {', '.join(service.pools)}" if service.pools else ""
        return Refusal(
            RefusalReason.NO_POOL, f"no pool{named} gives IPv{family} addresses to this Service; see the selectors and conditions"
        )

    def _for(self, service: BalancedService) -> list[CheckedPool]:
        """The pools that give to a Service: the oldest first, or in the order that the Service names them."""
        found = [one for one in self.book.pools if one.gives and one.selects(service)]
        return sorted(found, key=lambda one: service.pools.index(one.pool.name)) if service.pools else found

    def _lowest_free(self, wanted: Range) -> int | None:
        return self._taken[wanted.version].lowest_free(wanted)

    def _usage(self, one: CheckedPool) -> Usage:
        used = 0
        for each in one.ranges:
            kept_back = sum(to_address(each.version, number) not in self._holders for number in each.reserved)
            used += self._taken[each.version].count(each.first, each.last) + kept_back
        return Usage(sum(each.size for each in one.ranges), used)
