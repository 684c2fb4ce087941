"""Which interfaces of this node may announce at all: Cilium's device detection with this program's two tiers. Reads no kernel state itself.

A policy without ``interfaces`` uses the *default* tier. A policy that names interfaces chooses among the *named* tier, where an address or
a route is not required. With ``--devices`` both tiers are the interfaces that one of its expressions matches.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import re2

from l2announce.model.link import Device

EXCLUDED_PREFIXES = ("cilium_", "lo", "lxc", "cni", "docker")
"""Cilium's list of interface names that are never detected."""

EXCLUDED_KINDS = frozenset(("openvswitch", "ipoib"))
"""Cilium's list of device types that are never detected, but for bridges, which are allowed here."""

PATTERN_MEMORY = 1 << 20
"""Octets that one compiled expression may cost: hundreds of times what an interface expression needs."""

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = PATTERN_MEMORY

_QUOTED_OR_ESCAPE = re2.compile(r"(?s)\\Q.*?(?:\\E|\z)|\\.")
"""One ``\\Q...\\E`` quotation or one escape, so that an escaped backslash before a C is not taken for ``\\C``."""

_SHOWN = 80
"""Characters of an expression, and of RE2's words about it, that a message repeats."""


class Pattern(Protocol):
    """A compiled RE2 expression."""

    @property
    def pattern(self) -> str:
        """The expression as it was written."""
        ...

    def search(self, text: bytes) -> object | None:
        """A match anywhere in ``text`` (UTF-8), or None."""
        ...


@dataclass(frozen=True, slots=True)
class Candidates:
    """``default``: names usable by a policy without interfaces. ``named``: devices usable when a policy's expression matches them."""

    default: frozenset[str] = frozenset()
    named: tuple[Device, ...] = ()


def compile_pattern(text: str) -> Pattern:
    """Compile one expression in Go's regexp syntax (RE2). ValueError with one sentence that names it when Go would refuse it.

    RE2 takes ``\\C`` (any octet), which Go does not have: it is refused here.
    """
    shown = repr(_shorten(text))
    if any(match.group() == rb"\C" for match in _QUOTED_OR_ESCAPE.finditer(text.encode("utf-8", "surrogatepass"))):
        raise ValueError(f"{shown} is not an RE2 expression: invalid escape sequence: \\C")
    try:
        return cast(Pattern, re2.compile(text, options=_OPTIONS))
    except re2.error as err:
        raise ValueError(f"{shown} is not an RE2 expression: {_shorten(err.args[0].decode('utf-8', 'replace'))}") from err
    except UnicodeEncodeError as err:
        raise ValueError(f"{shown} is not an RE2 expression: it is not valid UTF-8") from err


def names_match(patterns: Iterable[Pattern], device: Device) -> bool:
    """Whether an expression matches the device's name or an alternative name, anywhere in it (unanchored, as Go's MatchString)."""
    names = [name.encode("utf-8", "surrogatepass") for name in (device.name, *device.alternative_names)]
    return any(pattern.search(name) for pattern in patterns for name in names)


def candidate_devices(devices: Iterable[Device], patterns: Sequence[str]) -> Candidates:
    """The interfaces that may announce. ``patterns`` are those of ``--devices``; none means detection.

    ValueError when one of ``patterns`` is not an expression. The answer does not depend on the order of ``devices``.
    """
    compiled = tuple(compile_pattern(pattern) for pattern in patterns)
    usable = sorted((device for device in devices if why_not(device, compiled, named=True) is None), key=lambda device: device.name)
    return Candidates(
        default=frozenset(device.name for device in usable if why_not(device, compiled, named=False) is None),
        named=tuple(usable),
    )


def why_not(device: Device, patterns: Sequence[Pattern], *, named: bool) -> str | None:
    """Why a device may not announce, as the end of the sentence "eth0 is not used: ..."; None when it may.

    ``patterns`` are the compiled ``--devices``. ``named``: whether a policy's expression names the device.
    """
    if wrong := _why_never(device):
        return wrong
    if patterns:
        return None if names_match(patterns, device) else "no --devices expression matches its names"
    return _why_not_detected(device) or (None if named else _why_not_default(device))


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _why_never(device: Device) -> str | None:
    """What no setting can overrule: frames of a port are seen as its master's, and ARP and NDP need Ethernet."""
    if device.loopback:
        return "it is a loopback"
    if not device.ethernet:
        return "it is not Ethernet or has no hardware address"
    if device.slave or device.master_kind not in (None, "vrf"):
        return f"it is a port of a {device.master_kind or 'bond'}; use the master"
    return None


def _why_not_detected(device: Device) -> str | None:
    """What --devices overrules."""
    if not device.up:
        return "it is down"
    for prefix in EXCLUDED_PREFIXES:
        if device.name.startswith(prefix):
            return f"names that begin with {prefix} are not detected; name it with --devices"
    if device.kind in EXCLUDED_KINDS:
        return f"devices of kind {device.kind} are not detected; name it with --devices"
    return None


def _why_not_default(device: Device) -> str | None:
    """What an expression of a policy overrules."""
    if not device.addresses:
        return "it has no address; name it in a policy's interfaces or with --devices"
    if device.kind == "veth" and not device.has_default_route:
        return "it is a veth without a default route; name it in a policy's interfaces or with --devices"
    if not device.has_global_unicast_route:
        return "it has no route to a global unicast destination; name it in a policy's interfaces or with --devices"
    return None
