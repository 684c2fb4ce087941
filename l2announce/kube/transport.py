"""Requests to the API server, octets in and octets out. TLS, tokens and the session are the official client's.

A Transport has connections of its own: what is slow on one does not queue what goes through another. Knows no object.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

import aiohttp
import msgspec
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from l2announce import __version__
from l2announce.errors import ApiError, ConfigurationError, GoneError
from l2announce.kube.credentials import Credentials

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
    """The official client's session, on sockets that notice a dead peer within seconds."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self.maxsize or 0, ssl=self.ssl_context, socket_factory=_socket, ttl_dns_cache=10, enable_cleanup_closed=False
        )


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


class Transport:
    """At most ``connections`` connections to one API server. Close it after use."""

    def __init__(self, credentials: Credentials, connections: int) -> None:
        self._credentials = credentials
        self._connections = connections
        self._configuration: Configuration | None = None
        self._client: _RestClient | None = None
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
        """The body of the answer. ApiError for a refusal, for none within ``timeout`` seconds, and without a connection."""
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_LIMIT)
        async with self._response(method, path, query, body, content_type, limits) as response:
            return await response.read()

    @contextlib.asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str], silence: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """The octets of an answer that goes on and on, as they come. ApiError when nothing came for ``silence`` seconds, and as above."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT, sock_read=silence)
        async with self._response("GET", path, query, None, JSON, limits) as response:
            yield response.content.iter_any()

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    @contextlib.asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        limits: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request, tried a second time with new credentials when the first ones are not, or no longer, accepted."""
        try:
            used, response = await self._send(method, path, query, body, content_type, limits)
            if response.status == 401 and await self._reload(used):
                response.release()
                used, response = await self._send(method, path, query, body, content_type, limits)
            async with response:
                if response.status >= 400:
                    await _refuse(response)
                yield response
        except aiohttp.ClientSSLError as err:
            await self._reload(self._configuration)
            raise ApiError(0, f"no trust in the API server: {err}; look at the certificate authority of the credentials") from err
        except TimeoutError as err:
            raise ApiError(0, "the API server did not answer in time") from err
        except (aiohttp.ClientError, OSError) as err:
            raise ApiError(0, f"no connection to the API server: {err or type(err).__name__}") from err

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        limits: aiohttp.ClientTimeout,
    ) -> tuple[Configuration, aiohttp.ClientResponse]:
        client, configuration = await self._open()
        headers = {"Accept": JSON, "User-Agent": f"l2announce/{__version__}"}
        token = await configuration.get_api_key_with_prefix("BearerToken", "authorization")
        if token or configuration.username:
            headers["Authorization"] = token or configuration.get_basic_auth_token() or ""
        if body is not None:
            headers["Content-Type"] = content_type
        options: dict[str, Any] = {}
        if configuration.tls_server_name:
            options["server_hostname"] = configuration.tls_server_name
        if configuration.proxy:
            options["proxy"] = configuration.proxy
        session = client.pool_manager
        assert session is not None  # noqa: S101 - _load has made it
        url = configuration.host.rstrip("/") + path
        return configuration, await session.request(method, url, params=query, data=body, headers=headers, timeout=limits, **options)

    async def _open(self) -> tuple[_RestClient, Configuration]:
        async with self._loading:
            if self._client is None or self._configuration is None:
                await self._load()
            assert self._client is not None  # noqa: S101 - _load has made both
            assert self._configuration is not None  # noqa: S101
            return self._client, self._configuration

    async def _reload(self, used: Configuration | None) -> bool:
        """Have other credentials than ``used``; False when those were read just now, so that trying again is of no use."""
        async with self._loading:
            if self._configuration is not used:
                return True
            if time.monotonic() - self._loaded_at < RELOAD_INTERVAL:
                return False
            try:
                await self._load()
            except ConfigurationError as err:  # what was good at the start is not for now; it may be again
                self._loaded_at = time.monotonic()
                raise ApiError(0, str(err)) from err
            return True

    async def _load(self) -> None:
        """Streams of the former session end; whoever reads them resumes on the new one."""
        configuration = await self._credentials()
        configuration.connection_pool_maxsize = self._connections
        client = _RestClient(configuration)
        client.pool_manager = client._create_pool_manager()
        former, self._client, self._configuration = self._client, client, configuration
        self._loaded_at = time.monotonic()
        if former is not None:
            await former.close()


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
