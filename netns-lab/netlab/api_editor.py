"""The administrator of a Kubernetes cluster: edits objects and leases through the API server."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from netlab.control_plane import ADMIN, ControlPlane, User
from netlab.edits import STRANGER_SECONDS, Editor, Part
from netlab.namespaces import Namespace

PATHS = {
    "CiliumL2AnnouncementPolicy": "/apis/cilium.io/v2alpha1/ciliuml2announcementpolicies",
    "Service": "/api/v1/namespaces/default/services",
    "Node": "/api/v1/nodes",
}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
JSON, JSON_PATCH = "application/json", "application/json-patch+json"
TIME_LIMIT = 5.0
TRIES = 5


class ApiEditor(Editor):
    """Asks from the control plane's namespace. ``away``: whether nobody shall ask now, because the server would answer later, when what was
    asked is no longer wanted; then each method raises ConnectionError."""

    def __init__(self, plane: ControlPlane, namespace: Namespace, away: Callable[[], bool]) -> None:
        super().__init__()
        self._plane = plane
        self._namespace = namespace
        self._away = away
        self._trust = ssl.create_default_context(cafile=plane.directory / "ca.crt")

    def is_ready(self) -> bool:
        """Whether the server says that it is ready; asked even while it is away."""
        try:
            with self._open("GET", "/readyz", b"", JSON, 1.0) as answer:
                return bool(answer.read() == b"ok")
        except OSError:
            return False

    def _read(self, part: Part) -> Any:
        value = self._request("GET", f"{PATHS[part.kind]}/{part.name}")
        for key in part.path:
            value = value[key]
        return value

    def _write(self, part: Part, value: Any) -> None:
        subresource = "/status" if part.path[0] == "status" else ""
        patch = [{"op": "replace", "path": f"/{'/'.join(part.path)}", "value": value}]
        self._request("PATCH", f"{PATHS[part.kind]}/{part.name}{subresource}", patch, JSON_PATCH)

    def create_service(self, service: Mapping[str, Any]) -> None:
        """Create a Service of the namespace default."""
        self._request("POST", PATHS["Service"], service)

    def addresses_of(self, service: str) -> list[str]:
        """The addresses in the status of a Service of the namespace default."""
        status = self._request("GET", f"{PATHS['Service']}/{service}")["status"]["loadBalancer"]
        return [entry["ip"] for entry in status.get("ingress", [])]

    def delete_lease(self, name: str) -> None:
        """See Editor."""
        try:
            self._request("DELETE", f"{LEASES}/{name}")
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise

    def set_holder(self, name: str, holder: str) -> bool:
        """See Editor."""
        for _ in range(TRIES):
            try:
                lease = self._request("GET", f"{LEASES}/{name}")
                now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                times = {"acquireTime": now, "renewTime": now, "leaseTransitions": lease["spec"].get("leaseTransitions", 0) + 1}
                lease["spec"] |= {"holderIdentity": holder, "leaseDurationSeconds": STRANGER_SECONDS if holder else 1, **times}
                self._request("PUT", f"{LEASES}/{name}", lease)
            except urllib.error.HTTPError as error:
                if error.code == HTTPStatus.NOT_FOUND:
                    return False
                if error.code != HTTPStatus.CONFLICT:
                    raise
            else:
                return True
        return False

    def _request(self, method: str, path: str, document: Any = None, content_type: str = JSON) -> Any:
        if self._away():
            raise ConnectionError("the API server is away")
        body = b"" if document is None else json.dumps(document).encode()
        with self._open(method, path, body, content_type, TIME_LIMIT) as answer:
            return json.load(answer)

    def _open(self, method: str, path: str, body: bytes, content_type: str, seconds: float) -> Any:
        headers = {"Authorization": f"Bearer {User(ADMIN).token}", "Content-Type": content_type}
        request = urllib.request.Request(f"{self._plane.url}{path}", body or None, headers, method=method)  # noqa: S310 - our own server
        with self._namespace.entered():
            return urllib.request.urlopen(request, timeout=seconds, context=self._trust)  # noqa: S310 - as above
