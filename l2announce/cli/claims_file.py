"""CLAIMS.yaml: the claims and links that ``replay`` and the golden cases hand to the Responder.

links:  [{name: eth0, mac: "02:00:00:00:00:01", index: 2}]             index may be left out: 1, 2, ... in order
claims: [{address: 10.0.0.1, interfaces: [eth0], deadline: 5.0}]       deadline in seconds after the first frame; left out: for ever
"""

from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from l2announce.errors import ConfigurationError
from l2announce.model.address import FOREVER, parse_mac
from l2announce.model.claim import Claim, ClaimSet
from l2announce.model.link import Link

_Name = Annotated[str, msgspec.Meta(min_length=1)]


class _ClaimEntry(msgspec.Struct, forbid_unknown_fields=True):
    address: str
    interfaces: list[_Name]
    deadline: float | None = None


class _LinkEntry(msgspec.Struct, forbid_unknown_fields=True):
    name: _Name
    mac: str
    index: Annotated[int, msgspec.Meta(ge=1)] | None = None
    link_local: str | None = None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    claims: list[_ClaimEntry] = []
    links: list[_LinkEntry] = []


def read_claims(path: Path) -> tuple[ClaimSet, tuple[Link, ...]]:
    """The claims and links in ``path``. ConfigurationError names the file, the field and the value."""
    try:
        document = msgspec.convert(yaml.safe_load(path.read_text()) or {}, _Document)
    except OSError as err:
        raise ConfigurationError(f"{path}: {err.strerror}") from err
    except yaml.YAMLError as err:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(err).split())}") from err
    except msgspec.ValidationError as err:
        raise ConfigurationError(f"{path}: {err}") from err
    links = tuple(_link(path, position, entry) for position, entry in enumerate(document.links))
    if not links:
        raise ConfigurationError(f"{path}: links: at least one is needed, such as {{name: eth0, mac: '02:00:00:00:00:01'}}")
    if len({link.index for link in links}) < len(links) or len({link.name for link in links}) < len(links):
        raise ConfigurationError(f"{path}: links: two have the same name or index")
    return ClaimSet(1, tuple(_claim(path, position, entry) for position, entry in enumerate(document.claims))), links


def _claim(path: Path, position: int, entry: _ClaimEntry) -> Claim:
    try:
        address = ip_address(entry.address)
    except ValueError as err:
        raise ConfigurationError(f"{path}: claims[{position}].address: {entry.address!r} is not an IP address") from err
    return Claim(address, frozenset(entry.interfaces), FOREVER if entry.deadline is None else entry.deadline)


def _link(path: Path, position: int, entry: _LinkEntry) -> Link:
    try:
        mac = parse_mac(entry.mac)
        link_local = None if entry.link_local is None else IPv6Address(entry.link_local)
    except ValueError as err:
        raise ConfigurationError(f"{path}: links[{position}]: {err}") from err
    return Link(entry.index or position + 1, entry.name, mac, link_local=link_local)
