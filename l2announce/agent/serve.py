"""The state socket: one line with a question, one JSON document as the answer.

The questions are ``status`` and ``explain NAMESPACE/NAME``. Whoever can open the socket may ask: it is its owner's alone.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from l2announce.errors import ConfigurationError

QUESTION_LIMIT = 5.0
"""Seconds in which a question must have come."""


async def serve_state(path: Path, answer: Callable[[str], Any]) -> asyncio.Server:
    """Answer everyone who connects to the socket at ``path`` with the document that ``answer`` makes for the question."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            question = await asyncio.wait_for(reader.readline(), QUESTION_LIMIT)
            writer.write(msgspec.json.encode(answer(question.decode("utf-8", "replace").strip())))
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    try:
        server = await asyncio.start_unix_server(converse, path=str(path))
    except OSError as err:
        raise ConfigurationError(f"--state-socket {path}: cannot listen there: {err.strerror}") from err
    path.chmod(0o600)
    return server
