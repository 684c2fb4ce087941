"""Where the API server is and who we are: a kubeconfig file, or the service account of the pod. The official client reads both.

Exec plugins, OIDC and projected tokens are its work too; we ask it again whenever the server no longer accepts what it gave.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, incluster_config, load_incluster_config, load_kube_config
from yaml import YAMLError

from l2announce.errors import ConfigurationError

PLUGIN_LIMIT = 30.0
"""Seconds that an exec plugin is given."""

Credentials: TypeAlias = Callable[[], Awaitable[Configuration]]
"""Reads the configuration anew, from disk or from a plugin."""


def from_kubeconfig(path: Path, context: str | None = None) -> Credentials:
    """The cluster and user of a context of a kubeconfig file, of its current context by default."""

    async def load() -> Configuration:
        configuration = Configuration()
        try:
            async with asyncio.timeout(PLUGIN_LIMIT):
                await load_kube_config(str(path), context, configuration, persist_config=False)  # type: ignore[no-untyped-call]
        except TimeoutError as err:
            raise ConfigurationError(
                f"--kubeconfig {path}: its plugin gave no credentials within {PLUGIN_LIMIT:g} s; run it by hand"
            ) from err
        except (ConfigException, OSError, ValueError, TypeError, AttributeError, YAMLError) as err:
            raise ConfigurationError(f"--kubeconfig {path}: {_sentence(err)}; look at it with kubectl config view") from err
        if configuration.host.startswith("https:") and not (configuration.api_key or configuration.cert_file):
            raise ConfigurationError(
                f"--kubeconfig {path}: its user has neither token nor client certificate, or its plugin gave none; run kubectl with it"
            )
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


def _sentence(err: Exception) -> str:
    """The message of an exception on one line, without a full stop."""
    return " ".join(str(err).split()).rstrip(".") or type(err).__name__
