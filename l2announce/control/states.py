"""The states of one candidate for one lease, and the table of what moves it from one to another. docs/election.md draws it.

Knows nothing of leases and time: election.py says when what happens.
"""

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """Where one candidate stands with one lease. Only in HOLDING may it answer."""

    IDLE = "idle"
    """Not a candidate: only watches."""
    FOLLOWING = "following"
    """A candidate that may not take the lease yet: held by another, vanished, not seen so far, or free with others before us in rank."""
    ACQUIRING = "acquiring"
    """Takes a free or expired lease: the write is due or in flight."""
    RESUMING = "resuming"
    """The lease carries our identity but gives no right at present: a renewal is due or in flight."""
    HOLDING = "holding"
    """The right to answer, until the deadline."""
    WITHDRAWING = "withdrawing"
    """No longer eligible: the lease is kept until the datapath has stopped answering."""
    RELEASING = "releasing"
    """Nobody answers here any more: the release is due or in flight."""


class Event(Enum):
    """What moves a candidate from one state to another."""

    ELIGIBLE = "eligible"
    INELIGIBLE = "ineligible"
    OURS = "ours"
    """The lease carries our identity."""
    NOT_OURS = "not ours"
    """It carries another's or none, or it is gone, and it is not to be taken yet."""
    FREE = "free"
    """It may be taken, and our patience is over."""
    GRANTED = "granted"
    """An acknowledged write gives the right to answer."""
    EXPIRED = "expired"
    """The deadline of that right has come."""
    WITHDRAWN = "withdrawn"
    """The datapath confirmed that it stopped, or its last deadline has come."""
    GAVE_UP = "gave up"
    """The release is no longer worth trying."""


TRANSITIONS: Mapping[State, Mapping[Event, State]] = {
    State.IDLE: {
        Event.ELIGIBLE: State.FOLLOWING,
        Event.OURS: State.WITHDRAWING,
    },
    State.FOLLOWING: {
        Event.INELIGIBLE: State.IDLE,
        Event.OURS: State.RESUMING,
        Event.FREE: State.ACQUIRING,
    },
    State.ACQUIRING: {
        Event.INELIGIBLE: State.IDLE,
        Event.OURS: State.RESUMING,
        Event.NOT_OURS: State.FOLLOWING,
    },
    State.RESUMING: {
        Event.INELIGIBLE: State.WITHDRAWING,
        Event.GRANTED: State.HOLDING,
        Event.NOT_OURS: State.FOLLOWING,
    },
    State.HOLDING: {
        Event.INELIGIBLE: State.WITHDRAWING,
        Event.EXPIRED: State.RESUMING,
        Event.NOT_OURS: State.FOLLOWING,
    },
    State.WITHDRAWING: {
        Event.ELIGIBLE: State.RESUMING,
        Event.WITHDRAWN: State.RELEASING,
        Event.NOT_OURS: State.IDLE,
    },
    State.RELEASING: {
        Event.ELIGIBLE: State.RESUMING,
        Event.GAVE_UP: State.IDLE,
        Event.NOT_OURS: State.IDLE,
    },
}
