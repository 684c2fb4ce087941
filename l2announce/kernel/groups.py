"""Memberships in solicited-node multicast groups, by IPV6_JOIN_GROUP: the kernel then sends MLD reports, which snooping switches need, and
opens the filter of the NIC. Joining needs no capability."""

import errno
import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv6Address

GROUPS_PER_SOCKET = 256
"""Kernels before 6.7 allow 365 memberships a socket with their default of net.core.optmem_max (20,480)."""


class _Shard:
    """One socket and how many memberships it carries."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.count = 0


class GroupMemberships:
    """The groups that this process is a member of. ``replace`` is told what it should be, whole, and does the difference."""

    def __init__(self) -> None:
        self._members: dict[int, dict[IPv6Address, _Shard]] = {}
        self._shards: list[_Shard] = []

    def replace(self, wanted: Mapping[int, frozenset[IPv6Address]]) -> tuple[str, ...]:
        """Be a member of exactly ``wanted``, groups by link index; several addresses with one group are one membership.

        Returns what could not be joined as sentences; the next call tries again.
        """
        problems: list[str] = []
        for ifindex in self._members.keys() | wanted.keys():
            members = self._members.setdefault(ifindex, {})
            groups = wanted.get(ifindex, frozenset())
            for group in members.keys() - groups:
                self._leave(ifindex, group, members.pop(group))
            for group in groups - members.keys():
                problem = self._join(ifindex, group, members)
                if problem is not None:
                    problems.append(problem)
                    break
        return tuple(problems)

    def forget_link(self, ifindex: int) -> None:
        """A link is gone, and its memberships with it: a link that comes with the same index is joined anew."""
        for group, shard in self._members.pop(ifindex, {}).items():
            self._leave(ifindex, group, shard)

    def close(self) -> None:
        """Leave everything."""
        for shard in self._shards:
            shard.socket.close()

    def _join(self, ifindex: int, group: IPv6Address, members: dict[IPv6Address, _Shard]) -> str | None:
        try:
            shard = next((shard for shard in reversed(self._shards) if shard.count < GROUPS_PER_SOCKET), None)
            if shard is None:
                shard = _Shard()
                self._shards.append(shard)
            shard.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, _request(ifindex, group))
        except OSError as err:
            remedy = "; raise net.core.optmem_max or the limit of open files" if err.errno in (errno.ENOMEM, errno.EMFILE) else ""
            return f"link {ifindex}: cannot join {group}: {err.strerror}{remedy}"
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


def _request(ifindex: int, group: IPv6Address) -> bytes:
    """struct ipv6_mreq."""
    return group.packed + struct.pack("@I", ifindex)
