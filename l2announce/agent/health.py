"""/metrics, /livez and /readyz of one agent, by HTTP."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from l2announce.errors import ConfigurationError

Check = Callable[[], str]
"""What is wrong, one sentence; "" when all is well."""


@asynccontextmanager
async def serve_health(
    address: tuple[str, int] | None, metrics: Callable[[], bytes], is_live: Check, is_ready: Check
) -> AsyncIterator[None]:
    """Serve at ``address``, not at all for None. ConfigurationError when that cannot be listened at.

    ``metrics`` renders its text at once: it is some hundred lines, whatever the size of the cluster.
    """
    if address is None:
        yield
        return

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def answering(check: Check) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            wrong = check()
            return web.Response(status=503 if wrong else 200, text=f"{wrong or 'ok'}\n")

        return answer

    application = web.Application()
    for path, handler in (("/metrics", show), ("/livez", answering(is_live)), ("/readyz", answering(is_ready))):
        application.router.add_get(path, handler)  # type: ignore[arg-type]
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, *address, shutdown_timeout=0.1).start()
        except OSError as err:
            host, port = address
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            raise ConfigurationError(
                f"--metrics-address {where}: cannot listen there: {os.strerror(err.errno or 0)}; name another one, or none"
            ) from err
        yield
    finally:
        await runner.cleanup()
