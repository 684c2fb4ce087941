"""The condition by which a Service tells whether it has the addresses that it wants, and of which pools they are."""

import re
from collections.abc import Iterable
from ipaddress import ip_address

from l2announce.model.address import Address
from l2announce.model.conditions import Condition

SATISFIED = "cilium.io/IPAMRequestSatisfied"
"""Its type. Cilium's operator writes it as well, without a message where all is given."""

_GIVEN = re.compile(r"([0-9A-Fa-f:.]+) of pool ([a-z0-9.-]+)")


def given_message(given: Iterable[tuple[Address, str]]) -> str:
    """The message of the condition that is True, for people and for ``pools_given``: each address with the name of its pool."""
    return ", ".join(f"{address} of pool {pool}" for address, pool in given)


def pools_given(conditions: Iterable[Condition]) -> dict[Address, str]:
    """The pool of each address, as the condition says; what it does not say, or says otherwise, is left out."""
    message = next((one.message for one in conditions if (one.type, one.status) == (SATISFIED, "True")), "")
    found = {}
    for part in message.split(", "):
        if match := _GIVEN.fullmatch(part):
            try:
                found[ip_address(match[1])] = match[2]
            except ValueError:
                continue
    return found
