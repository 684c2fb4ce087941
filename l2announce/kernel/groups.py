"""Memberships in solicited-node multicast groups, by IPV6_JOIN_GROUP: the kernel then sends MLD reports, which snooping switches need, and
opens the filter of the NIC. Joining needs no capability. The kernel itself reports again when carrier returns, and when a link-local
address comes.
"""

import errno
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from pathlib import Path

GROUPS_PER_SOCKET = 256
"""Kernels before 6.7 allow 365 memberships a socket with their default of net.core.optmem_max (20,480), later ones 2,340 (131,072)."""
BUDGET = 0.02
"""Seconds for which memberships are changed at a time: the kernel walks a list for each, 1.5 ms long with 20,000 groups on a link."""

_REMEDIES = {
    errno.ENOMEM: "; raise net.core.optmem_max or the limit of open files",
    errno.EMFILE: "; raise net.core.optmem_max or the limit of open files",
    errno.EINVAL: "; IPv6 needs an MTU of 1280 there",
    errno.EAFNOSUPPORT: "; this kernel runs without IPv6, boot it with ipv6.disable=0",
}


class _Shard:
    """One socket and how many memberships it carries."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.count = 0


class GroupMemberships:
    """The groups that this process is a member of. ``replace`` is told what it should be, whole, and does the difference."""

    def __init__(self, budget: float = BUDGET) -> None:
        self.is_behind = False
        self._budget = budget
        self._wanted: Mapping[int, frozenset[IPv6Address]] = {}
        self._members: dict[int, dict[IPv6Address, _Shard]] = {}
        self._shards: list[_Shard] = []

    def replace(self, wanted: Mapping[int, frozenset[IPv6Address]]) -> tuple[str, ...]:
        """Be a member of exactly ``wanted``, groups by link index; several addresses with one group are one membership.

        Returns what is wrong as sentences; the next call tries again. What takes too long ``is_behind``: ``go_on`` with it soon.
        """
        self._wanted = wanted
        return self.go_on()

    def go_on(self) -> tuple[str, ...]:
        """Do more of what ``replace`` was told, for about the budget; what could not be joined is tried again."""
        end = time.monotonic() + self._budget
        self.is_behind = False
        problems: list[str] = []
        for ifindex in self._members.keys() | self._wanted.keys():
            problem = self._change(ifindex, self._wanted.get(ifindex, frozenset()), end)
            problems += [problem] if problem else _silent(ifindex, self._members.get(ifindex, ()))
        return tuple(problems)

    def forget_link(self, ifindex: int) -> None:
        """A link is gone, or has lost its IPv6, and its memberships with it: a link that comes with the same index is joined anew."""
        for group, shard in self._members.pop(ifindex, {}).items():
            self._leave(ifindex, group, shard)

    def close(self) -> None:
        """Leave everything."""
        for shard in self._shards:
            shard.socket.close()

    def _change(self, ifindex: int, wanted: frozenset[IPv6Address], end: float) -> str | None:
        """Leave and join on one link until the time is up; the first thing that could not be joined, as a sentence."""
        members = self._members.setdefault(ifindex, {})
        for group in members.keys() - wanted:
            if time.monotonic() > end:
                self.is_behind = True
                return None
            self._leave(ifindex, group, members.pop(group))
        for group in wanted - members.keys():
            if time.monotonic() > end:
                self.is_behind = True
                return None
            if problem := self._join(ifindex, group, members):
                return problem
        return None

    def _join(self, ifindex: int, group: IPv6Address, members: dict[IPv6Address, _Shard]) -> str | None:
        try:
            shard = next((shard for shard in reversed(self._shards) if shard.count < GROUPS_PER_SOCKET), None)
            if shard is None:
                shard = _Shard()
                self._shards.append(shard)
            shard.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, _request(ifindex, group))
        except OSError as err:
            return f"link {_name(ifindex)}: cannot join {group}: {err.strerror}{_REMEDIES.get(err.errno or 0, '')}"
        shard.count += 1
        members[group] = shard
        return None

    @staticmethod
    def _leave(ifindex: int, group: IPv6Address, shard: _Shard) -> None:
        shard.count -= 1
        try:
            shard.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, _request(ifindex, group))
        except OSError as err:
            if err.errno not in (errno.ENODEV, errno.EADDRNOTAVAIL):  # the link went, and the membership with it
                raise


def _silent(ifindex: int, members: Iterable[IPv6Address]) -> list[str]:
    """A sentence where the kernel joins but sends no MLD report: it sends no IPv6 packet at all on a link with IPv6 disabled."""
    name = _name(ifindex)
    setting = f"net.ipv6.conf.{name}.disable_ipv6"
    try:
        disabled = any(True for _ in members) and Path("/proc/sys/net/ipv6/conf", name, "disable_ipv6").read_text().strip() != "0"
    except OSError:  # the link has just gone
        return []
    if not disabled:
        return []
    return [f"link {name}: IPv6 is disabled, so no MLD report goes out, and a switch that snoops holds solicitations back; set {setting}=0"]


def _name(ifindex: int) -> str:
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return str(ifindex)


def _request(ifindex: int, group: IPv6Address) -> bytes:
    """struct ipv6_mreq."""
    return group.packed + struct.pack("@I", ifindex)
