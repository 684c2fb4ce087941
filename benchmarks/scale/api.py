"""Requests to the API server as its administrator: plain, on kept connections, many at a time."""

import http.client
import json
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from netlab.control_plane import ADMIN, ControlPlane, User

from benchmarks.scale.objects import Document

CONNECTIONS = 6
Order = tuple[str, str, Document]
"""Method, path, body."""


class Api:
    """``CONNECTIONS`` connections to ``plane``, made where the calling thread is. A refusal is a RuntimeError with the server's words."""

    def __init__(self, plane: ControlPlane) -> None:
        context = ssl.create_default_context(cafile=str(plane.directory / "ca.crt"))
        host = urlsplit(plane.url)
        self._free: SimpleQueue[http.client.HTTPSConnection] = SimpleQueue()
        for _ in range(CONNECTIONS):
            connection = http.client.HTTPSConnection(str(host.hostname), host.port, context=context, timeout=60)
            connection.connect()
            self._free.put(connection)
        self._token = User(ADMIN).token

    def get(self, path: str) -> Any:
        """What there is at a path."""
        return json.loads(self.send(("GET", path, {})))

    def send(self, order: Order) -> bytes:
        """One request to its answer."""
        method, path, body = order
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        connection = self._free.get()
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
            connection.request(method, path, json.dumps(body), headers)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            self._free.put(connection)
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: HTTP {answer.status}: {said[:300].decode(errors='replace')}")
        return said

    def send_all(self, orders: Sequence[Order]) -> None:
        """Many requests, in no order."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(self.send, orders))
