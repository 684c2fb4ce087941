"""Who may edit a cluster's objects and leases from outside: its administrator, with the same words for files and for an API server.

A change is a function of the value of one part of an object. Changes of the same time are made one after another on what the part was at
first, so that each can be taken back while others stay.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

STRANGER_SECONDS = 3
"""How long a lease lasts that was taken by ``set_holder``; one that was blanked says 1, as after a release."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an object that is written as a whole: ``path`` are the keys that lead to it."""

    kind: str
    name: str
    path: tuple[str, ...]


Change = Callable[[Any], Any]
"""From a copy of a part's value to the new value."""
Undo = Callable[[], None]
"""May be called again when it raised OSError."""


def policy(name: str) -> Part:
    """What a policy says."""
    return Part("CiliumL2AnnouncementPolicy", name, ("spec",))


def addresses(service: str) -> Part:
    """The addresses of a Service of type LoadBalancer in the namespace default."""
    return Part("Service", service, ("status", "loadBalancer"))


def labels(node: str) -> Part:
    """The labels of a Node."""
    return Part("Node", node, ("metadata", "labels"))


class Editor(ABC):
    """The administrator. Every method raises OSError when it cannot be done now, and then has done nothing."""

    def __init__(self) -> None:
        self._originals: dict[Part, Any] = {}
        self._changes: dict[Part, list[Change]] = {}

    def edit(self, part: Part, change: Change) -> Undo:
        """Change a part until what is returned is called."""
        if part not in self._originals:
            self._originals[part] = self._read(part)
        changes = self._changes.setdefault(part, [])
        changes.append(change)
        try:
            self._render(part)
        except OSError:
            changes.remove(change)
            raise

        def undo() -> None:
            if change in changes:
                changes.remove(change)
            self._render(part)

        return undo

    def _render(self, part: Part) -> None:
        value = copy.deepcopy(self._originals[part])
        for change in self._changes[part]:
            value = change(value)
        self._write(part, value)

    @abstractmethod
    def _read(self, part: Part) -> Any:
        """The value of a part."""

    @abstractmethod
    def _write(self, part: Part, value: Any) -> None:
        """Replace it."""

    @abstractmethod
    def delete_lease(self, name: str) -> None:
        """Delete a lease; one that is not there is no error."""

    @abstractmethod
    def set_holder(self, name: str, holder: str) -> bool:
        """Write a holder into a lease, "" for none, by compare-and-swap. False when it is not there, or others were always faster."""
