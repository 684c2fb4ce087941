"""List and watch, for ever: the objects of one resource as they are, through every loss.

A list in pages, then a watch from its version, resumed from the last version seen when it ends. Only where the server no longer keeps that
version is there another list. Tells what changed; keeps nothing but the version.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from random import randint
from typing import TypeAlias

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from l2announce.errors import ApiError, GoneError
from l2announce.kube.transport import Transport
from l2announce.kube.watch import Page, WatchDecoder, WatchEvent, decode_page

PAGE_SIZE = 500
"""Objects in one page: some milliseconds to decode."""
LIST_LIMIT = 60.0
"""Seconds for one page."""
WATCH_SECONDS = (300, 600)
"""How long a watch is asked to last, drawn at random, so that the agents of a cluster do not renew theirs together."""
SILENCE = 90.0
"""Seconds without an octet after which a watch is taken for dead; bookmarks come about every 60 s."""
FIRST_WAIT = 0.1
LONGEST_WAIT = 10.0
"""Seconds between two attempts: drawn from 0 to a limit that doubles from the first to the longest."""
LONGEST_ASKED_WAIT = 60.0
"""Seconds that a server's Retry-After is obeyed at most."""
SHORT = 1.0
"""A watch that ends within so many seconds counts as a failure."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """Every object of the resource, as octets. What is not in it does not exist."""

    items: tuple[bytes, ...]


Change: TypeAlias = Listed | WatchEvent


@dataclass(frozen=True, slots=True)
class Resource:
    """What to list and watch: a path below the server's address, narrowed by selectors in the API's syntax."""

    path: str
    label_selector: str = ""
    field_selector: str = ""

    def query(self, **more: str) -> dict[str, str]:
        """The query of a request for it."""
        selectors = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {key: value for key, value in {**selectors, **more}.items() if value}


@dataclass(slots=True)
class Reflector:
    """Follows ``resource`` through ``transport``. ``silence``: see SILENCE."""

    transport: Transport
    resource: Resource
    silence: float = SILENCE
    failing: Callable[[ApiError | None], None] = lambda _: None
    """Told of each failure, and of None when things are well again."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _version: str = ""
    _in_doubt: bool = False

    async def changes(self) -> AsyncGenerator[Change, None]:
        """Listed first, then WatchEvents (no bookmarks), after a gap Listed again. Never ends."""
        while True:
            async for attempt in self._attempts():
                with attempt:
                    async with aclosing(self._round()) as changes:
                        async for change in changes:
                            yield change
                            del change  # a list may be many MiB, and the next change hours away

    async def _round(self) -> AsyncGenerator[Change, None]:
        """A list where there is no version to go on from, then one watch to its end.

        A watch that lasted ends the round, so that the waits begin anew; one that ended soon counts as a failure, whatever it told, so
        that a server which takes and drops us is not asked without pause.
        """
        if self._version and self._in_doubt and not await self._is_known():
            self._version = ""
        if not self._version:
            page = await self._list()
            self._version = page.resource_version
            self.failing(None)
            listed = Listed(page.items)
            del page
            yield listed
            del listed
        self._in_doubt = True
        began = time.monotonic()
        try:
            async with aclosing(self._watch()) as events:
                async for event in events:
                    yield event
            ended: ApiError = ApiError(0, f"the API server ended a watch after {time.monotonic() - began:.3f} s")
            self._in_doubt = False
        except GoneError as err:
            self._version = ""
            ended = err
        except ApiError as err:
            ended = err
        if time.monotonic() - began < SHORT:
            raise ended
        self._tell(ended)

    async def _watch(self) -> AsyncGenerator[WatchEvent, None]:
        decoder = WatchDecoder()
        async with self.transport.stream(self.resource.path, self._watch_query(), self.silence) as chunks:
            self.failing(None)
            async for chunk in chunks:
                for event in decoder.feed(chunk):
                    self._version = event.resource_version
                    if event.type != "BOOKMARK":
                        yield event

    async def _is_known(self) -> bool:
        """Whether the server has come as far as the version that we saw. A server that lost its data has not, and would let a watch from
        that version wait for ever. Versions of one resource are comparable numbers (KEP-5504)."""
        page = decode_page(await self.transport.request("GET", self.resource.path, self.resource.query(limit="1"), timeout=LIST_LIMIT))
        try:
            return int(page.resource_version) >= int(self._version)
        except ValueError:
            return False

    async def _list(self) -> Page:
        """All pages as one. A continuation that is no longer kept begins anew, whole."""
        items: list[bytes] = []
        query = self.resource.query(limit=str(PAGE_SIZE))
        while True:
            page = decode_page(await self.transport.request("GET", self.resource.path, query, timeout=LIST_LIMIT))
            items += page.items
            if not page.next_page:
                return Page(tuple(items), page.resource_version, "")
            query = {**query, "continue": page.next_page}

    def _watch_query(self) -> dict[str, str]:
        seconds = str(randint(*WATCH_SECONDS))  # noqa: S311 - to spread load
        return self.resource.query(watch="true", resourceVersion=self._version, allowWatchBookmarks="true", timeoutSeconds=seconds)

    def _attempts(self) -> AsyncRetrying:
        drawn = wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)

        def wait(state: RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome else None
            asked = failure.retry_after if isinstance(failure, ApiError) else None
            return max(drawn(state), min(asked or 0.0, LONGEST_ASKED_WAIT))

        def before_sleep(state: RetryCallState) -> None:
            failure = state.outcome.exception() if state.outcome else None
            if isinstance(failure, ApiError):
                self._tell(failure)

        return AsyncRetrying(sleep=self.sleep, wait=wait, retry=retry_if_exception_type(ApiError), before_sleep=before_sleep)

    def _tell(self, err: ApiError) -> None:
        """Log it; tell it, unless the remedy is our own: a new list."""
        _log.info("%s: %s", self.resource.path, err)
        if not isinstance(err, GoneError):
            self.failing(err)
