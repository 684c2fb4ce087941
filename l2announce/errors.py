"""The exceptions of l2announce. Expected outcomes are values; these are faults.

L2AnnounceError
├── DecodeError            a stranger's octets are not what they claim to be (raised in wire/ only)
├── ConfigurationError     the user asked for something impossible: exit code 2, one line, no traceback
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


class KernelError(L2AnnounceError):
    """The kernel refused what the datapath needs."""


class ChannelError(L2AnnounceError):
    """A message between control and responder that does not follow wire/messages.py."""
