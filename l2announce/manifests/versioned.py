"""One object as a directory of files: compare-and-swap between the processes of one machine, without a lock.

Its directory holds exactly one *token*, an empty file whose name says the present version: ``current.5-NONCE``, or
``deleted.5-NONCE``. The content of a version is ``5-NONCE.json``. A writer puts its content beside the others and then renames the token
that it read to that of its own version. The kernel renames a name once, so of all writers that read the same token exactly one wins. A
writer that is stopped or killed at any point holds nothing that the others wait for; when it wakes, the token that it read is gone and
its rename fails. Nonces never repeat, so neither a version nor a directory that was removed and made anew is mistaken for an older one.
For the same reason every step of one write goes through one open directory.
"""

import contextlib
import errno
import logging
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Generic, NamedTuple, Self, TypeAlias, TypeVar

from l2announce.wire.fields import ObjectError

_TOKEN = re.compile(r"(current|deleted)\.((\d{1,18})-[0-9a-f]{16})")
_CONTENT = re.compile(r"(\d{1,18})-[0-9a-f]{16}\.json")

_ATTEMPTS = 100
"""How often a directory is read again while others change it; each time somebody else's write has succeeded."""

_NOT_SPOILT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM})
"""Errors that are ours, not the content's: its holder may be well."""

T = TypeVar("T")
Decoder: TypeAlias = Callable[[bytes, str, str], T]
"""Octets, the name of the directory and the resource version -> the object; ObjectError when it cannot be used."""

_log = logging.getLogger(__name__)


class DamagedError(Exception):
    """A directory without a token: somebody else removed files in it."""


class Token(NamedTuple):
    """The present version of an object. Tokens sort by version."""

    version: int
    resource_version: str
    deleted: bool

    @property
    def name(self) -> str:
        return f"{'deleted' if self.deleted else 'current'}.{self.resource_version}"

    def next(self, *, deleted: bool = False) -> "Token":
        """A token for the version after this one, unlike any other."""
        return new_token(self.version + 1, deleted=deleted)


def new_token(version: int, *, deleted: bool) -> Token:
    """A token with a nonce of its own."""
    return Token(version, f"{version}-{secrets.token_hex(8)}", deleted)


def is_token(name: str) -> bool:
    """Whether a file of this name in such a directory is a token."""
    return _TOKEN.fullmatch(name) is not None


def create(place: Path, name: str) -> None:
    """Make the directory ``name`` as that of a deleted object; nothing happens when it is there. OSError when it cannot be made."""
    temporary = place / f".{secrets.token_hex(8)}"
    temporary.mkdir(parents=True)
    token = temporary / new_token(0, deleted=True).name
    token.touch()
    try:
        temporary.rename(place / name)  # a directory replaces an empty one only, and one that holds a token is not
    except OSError:
        token.unlink()
        temporary.rmdir()
        if not (place / name).is_dir():
            raise


class VersionedFile(Generic[T]):
    """One such directory, open. A context manager. FileNotFoundError when there is no such directory."""

    def __init__(self, path: Path, decoder: Decoder[T]) -> None:
        self._path = path
        self._decoder = decoder
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._directory)

    def token(self) -> Token:
        """The present token. DamagedError when there is none."""
        for _ in range(_ATTEMPTS):
            tokens = [
                Token(int(match[3]), match[2], match[1] == "deleted")
                for match in map(_TOKEN.fullmatch, os.listdir(self._directory))  # noqa: PTH208 - pathlib cannot list a descriptor
                if match
            ]
            if tokens:
                return max(tokens)
        raise DamagedError(f"{self._path}: holds no object any more; remove the directory")

    def read(self) -> tuple[Token, T | None]:
        """The present token and object; None when it is deleted, or its content is spoilt, of which the log tells.

        OSError when it cannot be opened from here: then it is not known what stands in it.
        """
        token = self.token()
        for _ in range(_ATTEMPTS):
            if token.deleted:
                return token, None
            try:
                return token, self._content(token)
            except (OSError, ObjectError) as err:
                if isinstance(err, OSError) and err.errno in _NOT_SPOILT:
                    raise
                latest = self.token()
                if latest == token:
                    _log.warning("%s: counts as deleted: %s", self._path / f"{token.resource_version}.json", err)
                    return token, None
                token = latest  # superseded and cleaned up while we looked
        raise DamagedError(f"{self._path}: changes faster than it can be read")

    def put_content(self, token: Token, data: bytes) -> None:
        """First step of a write: the content of a version that is not yet in force."""
        descriptor = os.open(
            f"{token.resource_version}.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=self._directory
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)

    def swap(self, old: Token, new: Token) -> bool:
        """Second step: put ``new`` in force in the place of ``old``. False when ``old`` is not in force any more."""
        try:
            os.rename(old.name, new.name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except FileNotFoundError:
            return False
        return True

    def clean(self, token: Token) -> None:
        """Last step, which may be left out: remove the content of versions before ``token``, which is or was in force."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self._directory):  # noqa: PTH208 - pathlib cannot list a descriptor
                match = _CONTENT.fullmatch(name)
                if match and int(match[1]) < token.version:
                    self._remove(name)

    def replace(self, old: Token, new: Token, data: bytes | None) -> bool:
        """All steps of a write; ``data`` is None for a deletion. False when another writer was first. OSError when the disk refuses."""
        if data is not None:
            try:
                self.put_content(new, data)
            except OSError:
                self._remove(f"{new.resource_version}.json")
                raise
        if self.swap(old, new):
            self.clean(new)
            return True
        self._remove(f"{new.resource_version}.json")
        return False

    def _content(self, token: Token) -> T:
        descriptor = os.open(f"{token.resource_version}.json", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        with os.fdopen(descriptor, "rb") as file:
            return self._decoder(file.read(), self._path.name, token.resource_version)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)
