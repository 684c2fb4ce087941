"""Transport without an API server: which proxy the environment asks for."""

import asyncio

import pytest
from kubernetes.aio.client.configuration import Configuration

from l2announce.errors import ApiError
from l2announce.kube.transport import Transport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def _first_line_at_proxy(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Request /version of an unreachable server with a proxy in the environment; what the proxy was asked, "" for nothing."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode())
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        async def credentials() -> Configuration:
            return Configuration(host="http://api.invalid/cluster/")

        transport = Transport(credentials, 1)
        try:
            assert await transport.request("GET", "/version", {"limit": "1"}, timeout=5.0) == b"{}"
        except ApiError:
            assert not asked
        finally:
            await transport.close()
    return "".join(asked)


def test_requests_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    line = asyncio.run(_first_line_at_proxy(monkeypatch))
    assert line == "GET http://api.invalid/cluster/version?limit=1 HTTP/1.1"


def test_no_proxy_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(_first_line_at_proxy(monkeypatch, no_proxy="api.invalid")) == ""
