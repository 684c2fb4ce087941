"""List and watch, for ever: the objects of one resource as they are, through every loss.

A list in pages, then a watch from its version, resumed from the last version seen when it ends. Only where the server no longer keeps that
version is there another list. Tells what changed; keeps nothing but the version.
"""

import logging
from collections.abc import AsyncIterator, Callable
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
    _version: str = ""

    async def changes(self) -> AsyncIterator[Change]:
        """Listed first, then WatchEvents (no bookmarks), after a gap Listed again. Never ends."""
        while True:
            async for attempt in self._attempts():
                with attempt:
                    async for change in self._round():
                        yield change

    async def _round(self) -> AsyncIterator[Change]:
        """A list where there is no version to go on from, then one watch to its end.

        What fails after something came ends the round, so that the waits begin anew; a watch that ends with nothing, not even a bookmark,
        counts as a failure.
        """
        if not self._version:
            page = await self._list()
            self._version = page.resource_version
            self.failing(None)
            yield Listed(page.items)
        came = False
        decoder = WatchDecoder()
        try:
            async with self.transport.stream(self.resource.path, self._watch_query(), self.silence) as chunks:
                self.failing(None)
                async for chunk in chunks:
                    for event in decoder.feed(chunk):
                        came = True
                        self._version = event.resource_version
                        if event.type != "BOOKMARK":
                            yield event
        except GoneError as err:
            _log.info("%s: listing again: %s", self.resource.path, err)
            self._version = ""
        except ApiError as err:
            if not came:
                raise
            self._tell(err)
        else:
            if not came:
                raise ApiError(0, "the API server ended a watch that had told nothing")

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
            return max(drawn(state), asked or 0.0)

        def before_sleep(state: RetryCallState) -> None:
            failure = state.outcome.exception() if state.outcome else None
            if isinstance(failure, ApiError):
                self._tell(failure)

        return AsyncRetrying(wait=wait, retry=retry_if_exception_type(ApiError), before_sleep=before_sleep)

    def _tell(self, err: ApiError) -> None:
        _log.info("%s: %s", self.resource.path, err)
        self.failing(err)
