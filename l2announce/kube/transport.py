"""Requests to the API server, octets in and octets out. TLS, tokens and the session are the official client's.

A Transport has connections of its own: what is slow on one does not queue what goes through another. Knows no object.
"""

import asyncio
import contextlib
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NoReturn

import aiohttp
import msgspec
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException
from yarl import URL

from l2announce import __version__
from l2announce.errors import ApiError, ConfigurationError, GoneError
from l2announce.kube.credentials import Credentials
from l2announce.model.address import Address

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

CONNECT_LIMIT = 5.0
"""Seconds for TCP and TLS."""
RELOAD_INTERVAL = 1.0
"""Least seconds between two readings of the credentials."""
_DEAD_PEER_MS = 10_000
"""Milliseconds after which unacknowledged octets end a connection (TCP_USER_TIMEOUT)."""


class _Status(msgspec.Struct):
    """The meta/v1 Status in a refusal."""

    reason: str = ""
    message: str = ""


class _RestClient(RESTClientObject):
    """The official client's session, on sockets that notice a dead peer within seconds. Notes in ``peers`` where it connects to."""

    peers: set[Address]

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self.maxsize or 0, ssl=self.ssl_context, socket_factory=self._socket, ttl_dns_cache=10, enable_cleanup_closed=False
        )

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        self.peers.add(ip_address(str(address[4][0]).partition("%")[0]))
        return _socket(address)


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    made.setblocking(False)
    return made


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, whoever asks it."""

    method: str
    path: str
    query: Mapping[str, str] | None
    limits: aiohttp.ClientTimeout
    body: bytes | None = None
    content_type: str = JSON


@dataclass(slots=True, eq=False)
class _Session:
    """Connections with one reading of the credentials, and how many answers are being read from them."""

    configuration: Configuration
    client: _RestClient
    base: URL
    readers: int = 0

    async def send(self, call: _Call) -> aiohttp.ClientResponse:
        headers = {"Accept": JSON, "User-Agent": f"l2announce/{__version__}"}
        token = await _token(self.configuration)
        if token:
            headers["Authorization"] = token
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        options: dict[str, Any] = {}
        if self.configuration.tls_server_name:
            options["server_hostname"] = self.configuration.tls_server_name
        if self.configuration.proxy:
            options["proxy"] = self.configuration.proxy
        manager = self.client.pool_manager
        assert manager is not None  # noqa: S101 - Transport._load has made it
        return await manager.request(
            call.method,
            self.base.with_path(self.base.path.rstrip("/") + call.path),
            params=call.query,
            data=call.body,
            headers=headers,
            timeout=call.limits,
            **options,
        )


class Transport:
    """At most ``connections`` connections to one API server. Close it after use. ``peers`` are the addresses that it has connected to, or
    tried to: those of the server, or of the proxy before it."""

    def __init__(self, credentials: Credentials, connections: int) -> None:
        self.peers: set[Address] = set()
        self._credentials = credentials
        self._connections = connections
        self._session: _Session | None = None
        self._former: set[_Session] = set()
        self._loaded_at = float("-inf")
        self._loading = asyncio.Lock()

    async def open(self) -> None:
        """Read the credentials now. ConfigurationError when they cannot be used; otherwise that shows at the first request."""
        await self._open()

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        timeout: float = 10.0,
    ) -> bytes:
        """The body of the answer. ApiError for a refusal, for none within ``timeout`` seconds, and without a connection.

        Reading credentials, waiting for a connection and the second try are within the ``timeout`` too.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT)
        call = _Call(method, path, query, limits, body, content_type)
        try:
            async with asyncio.timeout(timeout), self._response(call) as response:
                return await response.read()
        except TimeoutError as err:
            raise ApiError(0, f"the API server did not answer within {timeout:g} s") from err

    @contextlib.asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str], silence: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """The octets of an answer that goes on and on, as they come. ApiError when nothing came for ``silence`` seconds, and as above."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT, sock_read=silence)
        async with self._response(_Call("GET", path, query, limits)) as response:
            yield response.content.iter_any()

    async def close(self) -> None:
        """Close the connections."""
        sessions = [*self._former, *([self._session] if self._session else [])]
        self._former, self._session = set(), None
        for session in sessions:
            await session.client.close()

    @contextlib.asynccontextmanager
    async def _response(self, call: _Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request, tried a second time with new credentials when the first ones are not, or no longer, accepted."""
        try:
            for may_reload in (True, False):
                async with self._borrow() as session, await session.send(call) as response:
                    if response.status == 401 and may_reload and await self._reload(session):
                        continue
                    if response.status >= 400:
                        await _refuse(response)
                    yield response
                    return
        except aiohttp.ClientSSLError as err:
            await self._reload(self._session)
            raise ApiError(0, f"no trust in the API server: {err}; look at the certificate authority of the credentials") from err
        except aiohttp.ServerTimeoutError as err:
            raise ApiError(0, f"the API server was silent for too long: {err}") from err
        except (aiohttp.ClientError, OSError) as err:
            raise ApiError(0, f"no connection to the API server: {err or type(err).__name__}") from err

    @contextlib.asynccontextmanager
    async def _borrow(self) -> AsyncIterator[_Session]:
        """The present session; kept open until it is given back, even when another takes its place meanwhile."""
        session = await self._open()
        session.readers += 1
        try:
            yield session
        finally:
            session.readers -= 1
            await self._close_former()

    async def _open(self) -> _Session:
        async with self._loading:
            return self._session or await self._load()

    async def _reload(self, used: _Session | None) -> bool:
        """Have other credentials than ``used``; False when those were read just now, so that trying again is of no use."""
        async with self._loading:
            if self._session is not used:
                return True
            if time.monotonic() - self._loaded_at < RELOAD_INTERVAL:
                return False
            try:
                await self._load()
            except ConfigurationError as err:  # what was good at the start is not for now; it may be again
                raise ApiError(0, str(err)) from err
            return True

    async def _load(self) -> _Session:
        """Read the credentials and use them from now on. What is being read with the former ones is read to its end."""
        self._loaded_at = time.monotonic()
        configuration = await self._credentials()
        configuration.connection_pool_maxsize = self._connections
        base = URL(configuration.host)
        configuration.proxy = configuration.proxy or _proxy_of_environment(base)
        configuration.client_session_kwargs = {"trust_env": False}  # else the environment is looked up for every request, in a thread
        try:
            client = _RestClient(configuration)
        except (OSError, ValueError) as err:
            raise ConfigurationError(
                f"certificates or key of the API server's credentials: {err}; look at the files that they name"
            ) from err
        client.peers = self.peers
        client.pool_manager = client._create_pool_manager()
        if self._session is not None:
            self._former.add(self._session)
        self._session = _Session(configuration, client, base)
        await self._close_former()
        return self._session

    async def _close_former(self) -> None:
        for session in [session for session in self._former if not session.readers]:
            self._former.discard(session)
            await session.client.close()


def _proxy_of_environment(base: URL) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY ask for; None for none."""
    if base.host is None or urllib.request.proxy_bypass(base.host):
        return None
    return urllib.request.getproxies().get(base.scheme)


async def _token(configuration: Configuration) -> str:
    """What the Authorization header shall say, "" without a token. The official client may read it anew here."""
    try:
        token = await configuration.get_api_key_with_prefix("BearerToken", "authorization")
    except (ConfigException, OSError, ValueError) as err:
        raise ApiError(0, f"token of the service account: {err}") from err
    return str(token or "").strip()


async def _refuse(response: aiohttp.ClientResponse) -> NoReturn:
    """Raise what a refusal says."""
    body = await response.read()
    try:
        status = msgspec.json.decode(body, type=_Status)
    except msgspec.MsgspecError:
        status = _Status(message=body[:200].decode("utf-8", "replace"))
    said = f"HTTP {response.status} {status.reason or response.reason}: {status.message}".rstrip(": ")
    if response.status == 410:
        raise GoneError(410, said)
    raise ApiError(response.status, said, _retry_after(response.headers.get("Retry-After")))


def _retry_after(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None
