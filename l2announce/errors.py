"""The exceptions of l2announce. Expected outcomes are values; these are faults.

L2AnnounceError
├── DecodeError            a stranger's octets are not what they claim to be (raised in wire/ only)
├── ConfigurationError     the user asked for something impossible: exit code 2, one line, no traceback
├── ApiError               the API server refused a request, or did not answer it
│   └── GoneError          what was asked for is no longer kept: list again
├── KernelError            the kernel refused a socket, a filter or a capability
└── ChannelError           the other half of the agent broke the protocol between them

One layer translates a foreign exception, once, with ``raise ... from err``. A message names the object, the value and the remedy.
"""


class L2AnnounceError(Exception):
    """Root of every exception that l2announce raises on purpose."""


class DecodeError(L2AnnounceError):
    """Octets from the network, or from a capture, that do not follow their RFC."""


class ConfigurationError(L2AnnounceError):
    """A flag, variable, file or field that cannot be obeyed."""


class ApiError(L2AnnounceError):
    """A request that came to nothing. ``code`` is the HTTP status, 0 when there was no answer; ``retry_after`` the seconds that the server
    asked to wait, None when it did not."""

    def __init__(self, code: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class GoneError(ApiError):
    """HTTP 410: the resource version or the continuation is no longer kept."""


class KernelError(L2AnnounceError):
    """The kernel refused what the datapath needs."""


class ChannelError(L2AnnounceError):
    """A message between control and responder that does not follow wire/messages.py."""
