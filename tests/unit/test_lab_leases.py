"""The lab's lease history: from a watch, over TLS, as an API server sends it; from the embedded cluster's files."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from netlab.leases import FileLeaseHistory, WatchedLeaseHistory
from netlab.waiting import wait_until

PATIENCE = 10.0


class Server(ThreadingHTTPServer):
    """Answers every request with ``lines``, then waits until it is told to end the answer."""

    daemon_threads = True
    lines: tuple[dict[str, object], ...] = ()
    status = 200

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.finish = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """One watch."""

    server: Server

    def do_GET(self) -> None:
        authorized = self.headers["Authorization"] == "Bearer secret"
        self.send_response(self.server.status if authorized else 401)
        self.end_headers()
        for line in self.server.lines:
            self.wfile.write(json.dumps(line).encode() + b"\n")
        self.wfile.flush()
        self.server.finish.wait(PATIENCE if self.server.status == 200 else 0)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA, tmp_path: Path) -> Iterator[Server]:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    made = Server(context)
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.finish.set()
    made.shutdown()
    made.server_close()


def watch(server: Server, directory: Path, token: str = "secret") -> WatchedLeaseHistory:  # noqa: S107 - a test's
    return WatchedLeaseHistory(f"https://127.0.0.1:{server.server_address[1]}", directory / "ca.crt", token)


def event(kind: str, holder: str, renewed: str, name: str = "web") -> dict[str, object]:
    return {"type": kind, "object": {"metadata": {"name": name}, "spec": {"holderIdentity": holder, "renewTime": renewed}}}


def test_changes_of_holder_have_the_time_that_the_lease_says(server: Server, tmp_path: Path) -> None:
    server.lines = (
        event("ADDED", "n1", "2026-11-23T05:54:34.000001Z"),
        event("MODIFIED", "n1", "2026-11-23T05:54:35.000000Z"),
        event("MODIFIED", "", "2026-11-23T05:54:36.250000Z"),
        event("MODIFIED", "n2", "2026-11-23T05:54:36.300000Z"),
    )
    history = watch(server, tmp_path)
    wait_until(lambda: history.holder("web") == "n2", PATIENCE, "the last change")
    history.stop()
    start = 1795413274 * 1_000_000_000
    assert history.changes["web"] == [(start + 1000, "n1"), (start + 2_250_000_000, ""), (start + 2_300_000_000, "n2")]
    assert history.holder("api") == ""


def test_a_deleted_lease_has_no_holder(server: Server, tmp_path: Path) -> None:
    server.lines = (event("ADDED", "n1", "2026-11-23T05:54:34.000001Z"), event("DELETED", "n1", "2026-11-23T05:54:34.000001Z"))
    history = watch(server, tmp_path)
    wait_until(lambda: len(history.changes.get("web", ())) == 2, PATIENCE, "the deletion")
    history.stop()
    assert history.holder("web") == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [(None, "the API server closed it"), ({"type": "ERROR", "object": {}}, "ERROR event"), ({"type": 1}, "Expected `str`")],
)
def test_a_watch_that_ends_by_itself_is_no_history(server: Server, tmp_path: Path, line: dict[str, object] | None, said: str) -> None:
    server.lines = (event("ADDED", "n1", "2026-11-23T05:54:34.000001Z"), *([line] if line else []))
    history = watch(server, tmp_path)
    wait_until(lambda: history.holder("web") == "n1", PATIENCE, "the first change")
    server.finish.set()
    wait_until(lambda: not history.is_watching(), PATIENCE, "the watch to end")
    with pytest.raises(ConnectionError, match=said):
        history.stop()


def test_a_refused_watch_is_told_at_once(server: Server, tmp_path: Path) -> None:
    server.finish.set()
    with pytest.raises(ConnectionError, match="401"):
        watch(server, tmp_path, "another")


def test_files_tell_their_own_time(tmp_path: Path) -> None:
    lease = tmp_path / "web"
    lease.mkdir()
    (lease / "1.json").write_text(json.dumps({"spec": {"holderIdentity": "n1"}}))
    (lease / "current.1").touch()
    history = FileLeaseHistory(tmp_path)
    wait_until(lambda: history.holder("web") == "n1", PATIENCE, "the first version")
    (lease / "2.json").write_text(json.dumps({"spec": {}}))
    (lease / "current.1").rename(lease / "current.2")
    history.stop()
    changed = (lease / "current.2").stat().st_ctime_ns
    assert history.holder("web") == ""
    assert history.changes["web"][-1] == (changed, "")
