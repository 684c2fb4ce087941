"""CLAIMS.yaml: the claims and links that ``replay`` and the golden cases hand to the Responder.

links:  [{name: eth0, mac: "02:00:00:00:00:01", index: 2}]             index may be left out: 1, 2, ... in order
claims: [{address: 10.0.0.1, interfaces: [eth0], deadline: 5.0}]       deadline in seconds after the first frame; left out: for ever;
                                                                       probe: true holds it back until a probe is unanswered
peers:  ["02:00:00:00:00:02"]                                          the MACs of other nodes of the cluster: theirs are takeovers
answer_limit: 100                                                      requests that each link answers in a second at most; left out: any
"""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from l2announce.errors import ConfigurationError
from l2announce.model.address import FOREVER, parse_mac
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link
from l2announce.model.timing import MAX_ANSWER_LIMIT, PROBE_WAIT
from l2announce.wire.arp import NO_MAC
from l2announce.wire.ethernet import is_group

_FORM = "the form is claims: [{address, interfaces: [names], deadline}], links: [{name, mac, index}], with mac in quotes"
_Name = Annotated[str, msgspec.Meta(min_length=1)]


class _ClaimEntry(msgspec.Struct, forbid_unknown_fields=True):
    address: str
    interfaces: list[_Name]
    deadline: float | None = None
    probe: bool = False


class _LinkEntry(msgspec.Struct, forbid_unknown_fields=True):
    name: _Name
    mac: str
    index: Annotated[int, msgspec.Meta(ge=1)] | None = None
    link_local: str | None = None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    answer_limit: Annotated[int, msgspec.Meta(ge=0, le=MAX_ANSWER_LIMIT)] = 0
    claims: list[_ClaimEntry] = []
    peers: list[str] = []
    links: list[_LinkEntry] = []


def read_claims(path: Path) -> tuple[ClaimSet, tuple[Link, ...]]:
    """The claims and links in ``path``. ConfigurationError names the file, the field and the value."""
    try:
        document = msgspec.convert(yaml.safe_load(path.read_text()) or {}, _Document)
    except OSError as err:
        raise ConfigurationError(f"{path}: {err.strerror}; give a file of claims that can be read") from err
    except yaml.YAMLError as err:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(err).split())}") from err
    except UnicodeDecodeError as err:
        raise ConfigurationError(f"{path}: not YAML: octet {err.start} is not UTF-8") from err
    except msgspec.ValidationError as err:
        raise ConfigurationError(f"{path}: {err}; {_FORM}") from err
    links = tuple(_link(path, position, entry) for position, entry in enumerate(document.links))
    if not links:
        raise ConfigurationError(f"{path}: links: at least one is needed, such as {{name: eth0, mac: '02:00:00:00:00:01'}}")
    _require_unique(path, "links", "name", [link.name for link in links])
    _require_unique(path, "links", "index", [link.index for link in links])
    names = frozenset(link.name for link in links)
    claims = tuple(_claim(path, position, entry, names) for position, entry in enumerate(document.claims))
    _require_unique(path, "claims", "address", [claim.address for claim in claims])
    return ClaimSet(1, claims, peers=_peers(path, document.peers), probe_wait=PROBE_WAIT, answer_limit=document.answer_limit), links


def _peers(path: Path, texts: Sequence[str]) -> frozenset[bytes]:
    try:
        return frozenset(map(parse_mac, texts))
    except ValueError as err:
        raise ConfigurationError(f"{path}: peers: {err}; such as '02:00:00:00:00:01'") from err


def _require_unique(path: Path, where: str, field: str, values: Sequence[object]) -> None:
    for position, value in enumerate(values):
        if (first := values.index(value)) < position:
            raise ConfigurationError(
                f"{path}: {where}[{position}].{field}: {value} is also that of {where}[{first}]; leave one of them out"
            )


def _claim(path: Path, position: int, entry: _ClaimEntry, names: frozenset[str]) -> Claim:
    where = f"{path}: claims[{position}]"
    try:
        address = ip_address(entry.address)
    except ValueError as err:
        raise ConfigurationError(f"{where}.address: {entry.address!r} is not an IP address, such as 10.0.0.1 or fd00::1") from err
    if address.is_multicast or address.is_unspecified or getattr(address, "scope_id", None):
        raise ConfigurationError(f"{where}.address: {address} cannot be announced; give a unicast address without a zone")
    if unknown := sorted(set(entry.interfaces) - names):
        raise ConfigurationError(f"{where}.interfaces: no link named {', '.join(unknown)}; links has {', '.join(sorted(names))}")
    if entry.deadline is not None and not 0 <= entry.deadline < FOREVER:
        raise ConfigurationError(f"{where}.deadline: {entry.deadline}: give seconds from 0 on, or leave it out for a claim without end")
    return Claim(address, frozenset(entry.interfaces), FOREVER if entry.deadline is None else entry.deadline, entry.probe)


def _link(path: Path, position: int, entry: _LinkEntry) -> Link:
    try:
        mac = parse_mac(entry.mac)
        link_local = None if entry.link_local is None else IPv6Address(entry.link_local)
    except ValueError as err:
        raise ConfigurationError(f"{path}: links[{position}]: {err}; such as '02:00:00:00:00:01', and fe80::1 for link_local") from err
    if mac == NO_MAC or is_group(mac):
        raise ConfigurationError(f"{path}: links[{position}]: {entry.mac!r} is no hardware address of an interface")
    return Link(entry.index or position + 1, entry.name, mac, link_local=link_local)
