"""Where commands get an agent's state from: its state socket."""

import socket
from pathlib import Path

import msgspec

from l2announce.agent.settings import default_run_directory
from l2announce.errors import ConfigurationError
from l2announce.model.status import NodeStatus

ANSWER_LIMIT = 5.0
"""Seconds that an agent has to answer."""


def ask_agent(state_socket: Path | None) -> NodeStatus:
    """The state of the agent at ``state_socket`` (None: the default one). ConfigurationError when none answers there."""
    path = state_socket or default_run_directory() / "agent.sock"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_LIMIT)
        try:
            connection.connect(str(path))
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
        return msgspec.json.decode(received, type=NodeStatus)
    except msgspec.DecodeError as err:
        raise ConfigurationError(f"--state-socket {path}: the answer is not an agent's: {err}") from err
