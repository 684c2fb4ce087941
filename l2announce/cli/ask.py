"""Where commands get an agent's state from: its state socket."""

import socket
from pathlib import Path
from typing import TypeVar

import msgspec

from l2announce.agent.settings import default_run_directory
from l2announce.errors import ConfigurationError
from l2announce.model.status import Explanation, NodeStatus

ANSWER_LIMIT = 5.0
"""Seconds that an agent has to answer."""

_T = TypeVar("_T")


def ask_agent(state_socket: Path | None) -> NodeStatus:
    """The state of the agent at ``state_socket`` (None: the default one). ConfigurationError when none answers there."""
    return _ask(state_socket, "status", NodeStatus)


def ask_why(state_socket: Path | None, service: str) -> Explanation:
    """Why each node does or does not announce ``service``, ``NAMESPACE/NAME``, as the agent at ``state_socket`` sees it."""
    return _ask(state_socket, f"explain {service}", Explanation)


def _ask(state_socket: Path | None, question: str, kind: type[_T]) -> _T:
    path = state_socket or default_run_directory() / "agent.sock"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_LIMIT)
        try:
            connection.connect(str(path))
            connection.sendall(f"{question}\n".encode())
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        except TimeoutError as err:
            raise ConfigurationError(
                f"--state-socket {path}: the agent does not answer within {ANSWER_LIMIT:g} s; it may be frozen"
            ) from err
        except OSError as err:
            raise ConfigurationError(
                f"--state-socket {path}: no agent answers there ({err.strerror}); start one, or name its socket"
            ) from err
    try:
        return msgspec.json.decode(received, type=kind)
    except msgspec.DecodeError as err:
        raise ConfigurationError(f"--state-socket {path}: the answer is not an agent's: {err}") from err
