"""Which versions of a custom resource the API server has: a CustomResourceDefinition, watched by its name."""

from collections.abc import Mapping, Sequence

from l2announce.kube.reflector import Resource
from l2announce.wire import schema
from l2announce.wire.fields import decode
from l2announce.wire.objects import Decoded, ObjectKey

Served = frozenset[str]
"""The names of the versions."""


def definition(name: str) -> Resource:
    """What to watch for the definition ``name``."""
    return Resource("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", field_selector=f"metadata.name={name}")


def decode_definition(octets: bytes) -> Decoded[Served]:
    """The versions that the server has of a resource; none before it is ready to serve them."""
    crd = decode(octets, schema.CustomResourceDefinition)
    established = any(c.type == "Established" and c.status == "True" for c in (crd.status or schema.CrdStatus()).conditions or ())
    served = (version.name for version in (crd.spec or schema.CrdSpec()).versions or () if version.served)
    key = ObjectKey("CustomResourceDefinition", "", crd.metadata.name or "")
    return Decoded(key, frozenset(served) if established else frozenset())


def best_version(definitions: Mapping[tuple[str, str], Served], wanted: Sequence[str]) -> str | None:
    """The first of the ``wanted`` versions that the server has; None without any."""
    served = next(iter(definitions.values()), frozenset())
    return next((version for version in wanted if version in served), None)
