"""Where the API server is and who we are: a kubeconfig file, or the service account of the pod. The official client reads both.

Exec plugins, OIDC and projected tokens are its work too; we ask it again whenever the server no longer accepts what it gave.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, incluster_config, load_incluster_config, load_kube_config
from yarl import URL

from l2announce.errors import ConfigurationError

PLUGIN_LIMIT = 30.0
"""Seconds that an exec plugin is given."""

Credentials: TypeAlias = Callable[[], Awaitable[Configuration]]
"""Reads the configuration anew, from disk or from a plugin."""


def from_kubeconfig(path: Path, context: str | None = None) -> Credentials:
    """The cluster and user of a context of a kubeconfig file, of its current context by default."""

    async def load() -> Configuration:
        configuration = Configuration()
        _check_file(path)
        try:
            async with asyncio.timeout(PLUGIN_LIMIT):
                await load_kube_config(str(path), context, configuration, persist_config=False)  # type: ignore[no-untyped-call]
        except TimeoutError as err:
            raise ConfigurationError(
                f"--kubeconfig {path}: its plugin gave no credentials within {PLUGIN_LIMIT:g} s; run it by hand"
            ) from err
        except (ConfigException, OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as err:
            raise ConfigurationError(f"--kubeconfig {path}: {_sentence(err)}; look at it with kubectl config view") from err
        if wrong := _wrong_server(configuration.host):
            raise ConfigurationError(
                f"--kubeconfig {path}: its server {configuration.host!r} {wrong}; write one such as https://10.0.0.1:6443"
            )
        if configuration.host.startswith("https:") and not (configuration.api_key or configuration.cert_file):
            raise ConfigurationError(
                f"--kubeconfig {path}: its user has neither token nor client certificate, or its plugin gave none; run kubectl with it"
            )
        _check_certificates(path, configuration)
        return configuration

    return load


def from_service_account() -> Credentials:
    """What Kubernetes mounts into a pod; its token is read again as it is rotated."""

    async def load() -> Configuration:
        configuration = Configuration()
        try:
            load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError, ValueError) as err:
            raise ConfigurationError(
                f"not in a pod with a service account ({_sentence(err)}: see {incluster_config.SERVICE_HOST_ENV_NAME} and "
                f"{Path(incluster_config.SERVICE_TOKEN_FILENAME).parent}); name a cluster by --kubeconfig FILE, or a directory of YAML "
                "files by --manifests DIR"
            ) from err
        return configuration

    return load


def _check_file(path: Path) -> None:
    """ConfigurationError unless it can be read and has at least the shape of a kubeconfig; the official client checks the rest."""
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as err:
        raise ConfigurationError(f"--kubeconfig {path}: cannot be read ({err.strerror}); name a file that this user may read") from err
    except yaml.YAMLError as err:
        raise ConfigurationError(f"--kubeconfig {path}: not YAML ({_sentence(err)}); copy it again from where you have it") from err
    if not isinstance(document, dict) or document.get("kind", "Config") != "Config":
        what = "is empty" if document is None else "is no kubeconfig"
        raise ConfigurationError(f"--kubeconfig {path}: {what}; write one with kubectl config view --raw --minify --flatten")


def _check_certificates(path: Path, configuration: Configuration) -> None:
    """ConfigurationError unless the authority's certificates, and the user's with its key, are such."""
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except (OSError, ValueError) as err:
        raise ConfigurationError(f"--kubeconfig {path}: certificates or key cannot be used ({_sentence(err)}); look at them") from err


def _wrong_server(address: str) -> str:
    """What is wrong with the address of a server; "" when nothing is."""
    try:
        url = URL(address)
    except ValueError as err:
        return f"is no address ({_sentence(err)})"
    return "" if url.scheme in ("http", "https") and url.host else "is no address of a web server"


def _sentence(err: Exception) -> str:
    """The message of an exception on one line, without a full stop."""
    return " ".join(str(err).split()).rstrip(".") or type(err).__name__
