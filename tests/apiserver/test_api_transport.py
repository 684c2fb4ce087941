"""Who we are to the API server, and what is made of its answers."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, incluster_config
from kubernetes.aio.config.incluster_config import InClusterConfigLoader
from netlab.api_proxy import Fault, api_proxy
from netlab.control_plane import ControlPlane

from l2announce.errors import ApiError, ConfigurationError, GoneError
from l2announce.kube.credentials import from_kubeconfig, from_service_account
from l2announce.kube.transport import Transport
from tests.apiserver.rig import AGENTS, NODES, administrator, asynchronous, transport, until_async

pytestmark = pytest.mark.apiserver

N1 = AGENTS[0]


def kubeconfig(control_plane: ControlPlane, path: Path, user: object, authority: bytes | None = None) -> Path:
    """A kubeconfig with these credentials, replaced in one step where there is one already."""
    document = yaml.safe_load(control_plane.kubeconfig(N1.name).read_text())
    document["users"][0]["user"] = user
    if authority is not None:
        (path.parent / "other-ca.crt").write_bytes(authority)
        document["clusters"][0]["cluster"]["certificate-authority"] = str(path.parent / "other-ca.crt")
    new = path.with_suffix(".new")
    new.write_text(yaml.safe_dump(document))
    new.replace(path)
    return path


async def who(made: Transport) -> str:
    """The name by which the server knows us."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = json.loads(
        await made.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=json.dumps(body).encode(), timeout=30)
    )
    return str(answer["status"]["userInfo"]["username"])


@asynchronous
async def test_token_of_a_kubeconfig(control_plane: ControlPlane) -> None:
    async with transport(control_plane.kubeconfig("n1")) as made:
        assert await who(made) == "n1"


@asynchronous
async def test_wrong_token_is_refused_with_401(control_plane: ControlPlane, tmp_path: Path) -> None:
    async with transport(kubeconfig(control_plane, tmp_path / "config", {"token": "wrong"})) as made:
        with pytest.raises(ApiError, match="HTTP 401 Unauthorized") as raised:
            await who(made)
        assert raised.value.code == 401


@asynchronous
async def test_server_with_a_certificate_of_another_authority_is_not_trusted(control_plane: ControlPlane, tmp_path: Path) -> None:
    other = trustme.CA().cert_pem.bytes()
    async with transport(kubeconfig(control_plane, tmp_path / "config", {"token": N1.token}, other)) as made:
        with pytest.raises(ApiError, match=r"no trust in the API server.*look at the certificate authority"):
            await who(made)
        kubeconfig(control_plane, tmp_path / "config", {"token": N1.token})
        assert await until_async(lambda: who(made), "trust in the authority that the file names now") == "n1"


@asynchronous
async def test_credentials_are_read_again_when_they_are_no_longer_accepted(control_plane: ControlPlane, tmp_path: Path) -> None:
    path = kubeconfig(control_plane, tmp_path / "config", {"token": "expired"})
    async with transport(path) as made:
        await made.open()
        kubeconfig(control_plane, path, {"token": N1.token})
        assert await until_async(lambda: who(made), "the new token to be used") == "n1"


@asynchronous
async def test_new_credentials_that_cannot_be_used_leave_the_old_ones(control_plane: ControlPlane, tmp_path: Path) -> None:
    path = kubeconfig(control_plane, tmp_path / "config", {"token": "expired"})
    async with transport(path) as made:
        await made.open()
        path.write_text("{}")
        await asyncio.sleep(1.0)  # the least time between two readings
        with pytest.raises(ApiError, match=f"--kubeconfig {path}: .*Expected key"):
            await who(made)
        kubeconfig(control_plane, path, {"token": N1.token})
        assert await until_async(lambda: who(made), "the new token to be used") == "n1"


@asynchronous
async def test_change_of_credentials_does_not_break_what_is_under_way(control_plane: ControlPlane) -> None:
    async with administrator(control_plane) as admin, api_proxy(control_plane, AGENTS) as (proxy, kubeconfigs):
        await admin.node("n1")
        async with transport(kubeconfigs["n1"]) as made:
            async with made.stream(NODES, {"watch": "true", "resourceVersion": "0"}, 30.0) as chunks:
                assert b'"n1"' in await anext(chunks)
                proxy.rule = lambda seen: Fault(delay=1.5) if seen.path == NODES else None
                slow = asyncio.create_task(made.request("GET", NODES))
                await asyncio.sleep(1.0)  # the least time between two readings
                refused = iter([Fault(status=401)])
                proxy.rule = lambda _: next(refused, None)
                assert await who(made) == "n1"
                assert b'"n1"' in await slow
                await admin.node("n2")
                assert b'"n2"' in await anext(chunks)
            assert len(made._former) == 0


@asynchronous
async def test_exec_plugin_gives_the_token_and_is_asked_again(control_plane: ControlPlane, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    version = "client.authentication.k8s.io/v1"

    def give(token: str) -> None:
        answer.write_text(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}))

    plugin = {"exec": {"apiVersion": version, "command": "cat", "args": [str(answer)], "interactiveMode": "Never"}}
    give("expired")
    async with transport(kubeconfig(control_plane, tmp_path / "config", plugin)) as made:
        await made.open()
        give(N1.token)
        assert await until_async(lambda: who(made), "the plugin to be asked again") == "n1"


@asynchronous
async def test_exec_plugin_that_fails_is_told(control_plane: ControlPlane, tmp_path: Path) -> None:
    plugin = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false"}}
    async with transport(kubeconfig(control_plane, tmp_path / "config", plugin)) as made:
        with pytest.raises(ConfigurationError, match="neither token nor client certificate, or its plugin gave none"):
            await made.open()


@asynchronous
async def test_client_certificate(control_plane: ControlPlane, tmp_path: Path) -> None:
    issued = control_plane.authority.issue_cert("n1.example", common_name="n1", organization_name="agents")
    (tmp_path / "n1.crt").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    (tmp_path / "n1.key").write_bytes(issued.private_key_pem.bytes())
    user = {"client-certificate": str(tmp_path / "n1.crt"), "client-key": str(tmp_path / "n1.key")}
    async with transport(kubeconfig(control_plane, tmp_path / "config", user)) as made:
        assert await who(made) == "n1"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is empty"),
        ("a: [", "not YAML"),
        ("[]", "is no kubeconfig"),
        ("{clusters: [], users: [], contexts: []}", "look at it with kubectl config view"),
    ],
)
@asynchronous
async def test_kubeconfig_that_is_none_is_told(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=f"--kubeconfig {path}: .*{complaint}"):
        await from_kubeconfig(path)()


@asynchronous
async def test_unusable_certificate_authority_is_told_at_the_start(control_plane: ControlPlane, tmp_path: Path) -> None:
    async with transport(kubeconfig(control_plane, tmp_path / "config", {"token": N1.token}, b"no certificate")) as made:
        with pytest.raises(ConfigurationError, match=r"--kubeconfig .*: certificates or key cannot be used"):
            await made.open()


@asynchronous
async def test_context_that_does_not_exist_is_told(control_plane: ControlPlane) -> None:
    with pytest.raises(ConfigurationError, match="Expected object with name elsewhere"):
        await from_kubeconfig(control_plane.kubeconfig("n1"), "elsewhere")()


# -- in a pod


@pytest.fixture
def token_file(control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service account that Kubernetes mounts into a pod, here."""
    host, _, port = control_plane.url.removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    (tmp_path / "ca.crt").write_bytes((control_plane.directory / "ca.crt").read_bytes())
    return tmp_path / "token"


@asynchronous
async def test_token_of_a_pod_is_read_again_when_it_was_rotated(token_file: Path) -> None:
    token_file.write_text("expired\n")
    made = Transport(from_service_account(), 2)
    try:
        await made.open()
        token_file.write_text(f"{N1.token}\n")
        assert await until_async(lambda: who(made), "the rotated token to be used") == "n1"
    finally:
        await made.close()


@asynchronous
async def test_token_of_a_pod_is_read_again_while_the_former_one_is_good(token_file: Path) -> None:
    """The official client reads it every minute; here its minute has passed."""
    token_file.write_text(N1.token)
    made = Transport(from_service_account(), 2)
    try:
        assert await who(made) == "n1"
        token_file.write_text(AGENTS[1].token)
        assert await who(made) == "n1"
        loader = _loader(made)
        loader.token_expires_at -= loader._token_refresh_period
        assert await who(made) == "n2"
    finally:
        await made.close()


def _loader(made: Transport) -> InClusterConfigLoader:
    """What the official client keeps in its hook."""
    assert made._session is not None
    hook: Any = made._session.configuration.refresh_api_key_hook
    loader = next(cell.cell_contents for cell in hook.__closure__ if isinstance(cell.cell_contents, InClusterConfigLoader))
    assert isinstance(loader, InClusterConfigLoader)
    return loader


@asynchronous
async def test_authority_of_a_pod_is_read_again_when_it_was_rotated(token_file: Path) -> None:
    token_file.write_text(N1.token)
    authority = token_file.with_name("ca.crt")
    rotated = authority.read_bytes()
    authority.write_bytes(trustme.CA().cert_pem.bytes())
    made = Transport(from_service_account(), 2)
    try:
        with pytest.raises(ApiError, match="no trust in the API server"):
            await who(made)
        authority.write_bytes(rotated)
        assert await until_async(lambda: who(made), "trust in the authority that the file names now") == "n1"
    finally:
        await made.close()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("token", None, "Service token file does not exist"),
        ("token", b"", "Token file exists but empty"),
        ("token", b"\xff\xfe", "codec can't decode"),
        ("ca.crt", None, "Service certification file does not exist"),
        ("ca.crt", b"", "Cert file exists but empty"),
    ],
)
@asynchronous
async def test_pod_whose_service_account_lacks_something_is_told(
    token_file: Path, name: str, content: bytes | None, complaint: str
) -> None:
    token_file.write_text(N1.token)
    path = token_file.with_name(name)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{complaint}.* see KUBERNETES_SERVICE_HOST and .*name a cluster by --kubeconfig FILE"):
        await from_service_account()()


@asynchronous
async def test_program_that_is_in_no_pod_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match=r"not in a pod with a service account .Service host/port is not set: .*--kubeconfig FILE"):
        await from_service_account()()


@asynchronous
async def test_token_that_cannot_be_read_now_fails_the_request_alone(token_file: Path) -> None:
    token_file.write_text(N1.token)
    good = await from_service_account()()

    def unreadable(_: Configuration) -> None:
        raise ConfigException("Token file exists but empty.")

    async def credentials() -> Configuration:
        return good

    made = Transport(credentials, 2)
    try:
        assert await who(made) == "n1"
        hook, good.refresh_api_key_hook = good.refresh_api_key_hook, unreadable  # type: ignore[assignment]
        with pytest.raises(ApiError, match="token of the service account: Token file exists but empty"):
            await who(made)
        good.refresh_api_key_hook = hook
        assert await who(made) == "n1"
    finally:
        await made.close()


# -- answers


@asynchronous
async def test_refusals_say_what_the_server_said(control_plane: ControlPlane) -> None:
    async with api_proxy(control_plane, AGENTS) as (proxy, kubeconfigs), transport(kubeconfigs["n1"]) as made:
        with pytest.raises(ApiError, match=r'HTTP 403 Forbidden: .*User "n1" cannot list resource "secrets"') as raised:
            await made.request("GET", "/api/v1/secrets")
        assert raised.value.code == 403
        proxy.rule = lambda _: Fault(status=503, body=b"<html>away</html>", headers={"Retry-After": "7"})
        with pytest.raises(ApiError, match="HTTP 503 Service Unavailable: <html>away</html>") as raised:
            await made.request("GET", NODES)
        assert raised.value.retry_after == 7.0
        proxy.rule = lambda _: Fault(status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
        with pytest.raises(ApiError) as raised:
            await made.request("GET", NODES)
        assert (raised.value.code, raised.value.retry_after) == (429, None)
        proxy.rule = lambda _: Fault(status=410)
        with pytest.raises(GoneError):
            await made.request("GET", NODES)


@asynchronous
async def test_request_ends_within_its_limit(control_plane: ControlPlane) -> None:
    async with api_proxy(control_plane, AGENTS) as (proxy, kubeconfigs), transport(kubeconfigs["n1"]) as made:
        proxy.rule = lambda _: Fault(delay=30)
        began = time.monotonic()
        with pytest.raises(ApiError, match=r"the API server did not answer within 0.3 s") as raised:
            await made.request("GET", NODES, timeout=0.3)
        assert raised.value.code == 0
        assert time.monotonic() - began < 5


@asynchronous
async def test_slow_credentials_are_within_the_limit_too(control_plane: ControlPlane) -> None:
    async def never() -> Configuration:
        await asyncio.sleep(3600)
        raise AssertionError

    made = Transport(never, 2)
    with pytest.raises(ApiError, match=r"did not answer within 0.2 s"):
        await made.request("GET", NODES, timeout=0.2)


@asynchronous
async def test_server_that_is_not_there(control_plane: ControlPlane, tmp_path: Path) -> None:
    document = yaml.safe_load(control_plane.kubeconfig("n1").read_text())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "config").write_text(yaml.safe_dump(document))
    async with transport(tmp_path / "config") as made:
        with pytest.raises(ApiError, match=r"no connection to the API server: .*127.0.0.1:1") as raised:
            await made.request("GET", NODES)
        assert raised.value.code == 0
