"""The service addresses of a directory of manifests: whom the lab asks for, and which lease decides about each.

Only what the lab needs, read apart from l2announce's own loader: the lab must not be fooled by the code it shows.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml

from netlab.frames import Address


class ManifestError(Exception):
    """The lab's manifests hold no Service with an address."""


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """One address of one Service (``namespace/name``)."""

    service: str
    address: Address

    @property
    def lease(self) -> str:
        """The name of the lease that elects its owner. True for Services that share no address with another, as in the lab."""
        return f"cilium-l2announce-{self.service.replace('/', '.')}"


def load_service_addresses(directory: Path) -> tuple[ServiceAddress, ...]:
    """Every load balancer and external address in the YAML files of a directory, sorted by family, then number. ManifestError if none."""
    found = {
        ServiceAddress(f"{document['metadata'].get('namespace', 'default')}/{document['metadata']['name']}", address)
        for document in load_documents(directory)
        if document.get("kind") == "Service"
        for address in _addresses(document)
    }
    if not found:
        raise ManifestError(f"{directory}: no Service with a load balancer or external address in any *.yaml file")
    return tuple(sorted(found, key=lambda item: (item.address.version, int(item.address))))


def load_documents(directory: Path) -> list[dict[str, Any]]:
    """The objects in the YAML files of a directory."""
    return [document for path in sorted(directory.rglob("*.yaml")) for document in documents_of(path)]


def documents_of(path: Path) -> list[dict[str, Any]]:
    """The objects of a file; those of a List as well."""
    documents = [document for document in yaml.safe_load_all(path.read_text()) if isinstance(document, dict)]
    return [item for document in documents for item in (document.get("items") or [] if document.get("kind") == "List" else [document])]


def _addresses(service: dict[str, Any]) -> list[Address]:
    ingress = (service.get("status", {}).get("loadBalancer", {}) or {}).get("ingress") or []
    texts = [entry["ip"] for entry in ingress if "ip" in entry] + list(service.get("spec", {}).get("externalIPs") or [])
    return [ip_address(text) for text in texts]
