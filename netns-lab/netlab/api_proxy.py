"""A reverse proxy before an API server that does what a real server does not do when asked: refuse, delay, cut, fall silent.

For tests: it notes every request, and one rule decides what becomes of each. It runs in the event loop of its user.
"""

import asyncio
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from netlab.control_plane import ControlPlane, User

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came. ``at`` is time.monotonic()."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def is_watch(self) -> bool:
        """Whether it asks for a watch."""
        return self.query.get("watch") == "true"

    @property
    def is_list(self) -> bool:
        """Whether it reads, but no watch."""
        return self.method == "GET" and not self.is_watch


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of a request instead of its answer.

    ``delay``: seconds before it is passed on, or answered. ``status``, with ``headers`` and ``body``: the answer, nothing is passed on.
    ``cut_within``: the connection is broken off in the middle of the first chunk of the answer that holds these octets. ``silent``: the
    answer begins, and no octet of its body follows.
    """

    delay: float = 0.0
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_within: bytes = b""
    silent: bool = False


Rule = Callable[[Seen], Fault | None]


def pass_all(_: Seen) -> None:
    """The rule that lets everything pass."""


class ApiProxy:
    """See ``api_proxy``, which makes one. ``rule`` may be replaced at any time; ``seen`` grows with each request."""

    def __init__(self, url: str, trust: ssl.SSLContext) -> None:
        self.seen: list[Seen] = []
        self.rule: Rule = pass_all
        self.url = ""
        self._upstream = url
        self._trust = trust
        self._client: aiohttp.ClientSession | None = None
        self._watches: list[web.Request] = []

    def cut_watches(self) -> int:
        """Break off every watch that is under way; how many there were."""
        watches = list(self._watches)
        for request in watches:
            _abort(request)
        return len(watches)

    @property
    def watching(self) -> int:
        """How many watches are under way."""
        return len(self._watches)

    def requests(self, path: str) -> list[Seen]:
        """The requests whose path ends so."""
        return [seen for seen in self.seen if seen.path.endswith(path)]

    async def start(self, serving: ssl.SSLContext, address: str) -> web.AppRunner:
        """Listen on a free port, and set ``url``."""
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._trust, limit=0), auto_decompress=False)
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, address, 0, ssl_context=serving).start()
        self.url = f"https://{address}:{runner.addresses[0][1]}"
        return runner

    async def stop(self, runner: web.AppRunner) -> None:
        """Break off what is under way."""
        self.cut_watches()
        await runner.cleanup()
        if self._client is not None:
            await self._client.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(request.method, request.path, dict(request.query), dict(request.headers), await request.read(), time.monotonic())
        self.seen.append(seen)
        fault = self.rule(seen) or Fault()
        await asyncio.sleep(fault.delay)
        if fault.status:
            return web.Response(status=fault.status, headers=fault.headers, body=fault.body)
        try:
            return await self._pass_on(request, seen, fault)
        except (aiohttp.ClientError, OSError):  # one of the two sides is gone
            _abort(request)
            return web.Response(status=502)

    async def _pass_on(self, request: web.Request, seen: Seen, fault: Fault) -> web.StreamResponse:
        assert self._client is not None  # noqa: S101 - start has made it
        headers = {key: value for key, value in seen.headers.items() if key.lower() not in _HOP_BY_HOP}
        target = self._upstream + request.raw_path
        limits = aiohttp.ClientTimeout(total=None)
        async with self._client.request(seen.method, target, data=seen.body or None, headers=headers, timeout=limits) as answer:
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            if seen.is_watch:
                self._watches.append(request)
            try:
                await _copy(answer, response, request, fault)
            finally:
                if seen.is_watch:
                    self._watches.remove(request)
            return response


async def _copy(answer: aiohttp.ClientResponse, response: web.StreamResponse, request: web.Request, fault: Fault) -> None:
    async for chunk in answer.content.iter_any():
        if fault.silent:
            continue
        if fault.cut_within and (at := chunk.find(fault.cut_within)) >= 0:
            await response.write(chunk[: at + len(fault.cut_within)])
            await asyncio.sleep(0.05)  # so that what was written leaves before the reset
            _abort(request)
            raise ConnectionResetError("cut, as the rule asked")
        await response.write(chunk)
    await response.write_eof()


def _abort(request: web.Request) -> None:
    with suppress(AttributeError):  # no transport any more
        request.transport.abort()  # type: ignore[union-attr]


@asynccontextmanager
async def api_proxy(
    control_plane: ControlPlane, users: tuple[User, ...], address: str = "127.0.0.1"
) -> AsyncIterator[tuple[ApiProxy, dict[str, Path]]]:
    """A proxy at ``address`` before ``control_plane``, with a certificate of the same authority; a kubeconfig through it for each user."""
    trust, serving = ssl.create_default_context(ssl.Purpose.SERVER_AUTH), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    control_plane.authority.configure_trust(trust)
    control_plane.authority.issue_cert(address, "localhost").configure_cert(serving)
    proxy = ApiProxy(control_plane.url, trust)
    runner = await proxy.start(serving, address)
    try:
        with tempfile.TemporaryDirectory() as directory:
            yield proxy, {user.name: _kubeconfig(control_plane, user, proxy.url, Path(directory)) for user in users}
    finally:
        await proxy.stop(runner)


def _kubeconfig(control_plane: ControlPlane, user: User, url: str, directory: Path) -> Path:
    document = yaml.safe_load(control_plane.kubeconfig(user.name).read_text())
    document["clusters"][0]["cluster"]["server"] = url
    path = directory / f"{user.name}.kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path
