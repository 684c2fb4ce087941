"""Every duration of the program, in seconds, each with its source. The lease timings have Cilium's names, defaults and rules."""

import math
from dataclasses import dataclass

from l2announce.errors import ConfigurationError

FENCE = 0.9
"""A holder answers for this share of the lease duration after it *sent* its last successful renewal. The rest is the tolerated difference
of the rates of two boot clocks: a tenth, where crystals differ by less than a thousandth."""

ANNOUNCE_OFFSETS = (0.0, 0.2, 1.1, 3.0, 7.0)
"""When announcements of a newly won address go out. 1.1 s clears Linux's neighbor locktime of 1 s; the last two reach receivers behind
switch ports that were not yet forwarding."""

ANNOUNCE_GAP = 0.001
"""Seconds in which a link earns the right to announce one address: 1,000 a second at most, whatever they are for, two frames each for ARP.
That is a thousandth of a gigabit link, and what a switch or a client takes without loss."""

ANNOUNCE_BURST = 16
"""Addresses that a link may announce at once after a pause: what a process that wakes up some milliseconds late has to make good, and far
less than the shortest transmit queue holds."""

ANNOUNCE_RETRY = 0.05
"""Seconds before an announcement that the kernel did not send is tried again; each further try waits twice as long."""

ANNOUNCE_RETRIES = 5
"""How often it is tried again: for 1.5 s, the time in which a queue drains or a link that went down is known to be down."""

ANNOUNCE_REFRESH = 180.0
"""Seconds between refreshes of a held address: switches forget a silent MAC after 300 s (the ageing time of IEEE 802.1D)."""

MIN_REFRESH = 10.0
"""The shortest refresh interval that may be asked for."""

DEFEND_INTERVAL = 10.0
"""RFC 5227, 1.1 and 2.4: an address is defended against a stranger at most once in this time."""

CONFLICT_MEMORY = 600.0
"""Seconds for which a conflict is shown after it was last seen; one that begins again later is told anew."""

PROBE_WAIT = 0.2
"""Seconds from the first probe for an address until it may be announced. RFC 5227 waits longer, for hosts that sleep and for switch ports
that are not yet forwarding: a host that is up answers within milliseconds, also the second probe where the first one was lost."""

MAX_PROBE_WAIT = 10.0
"""The longest wait that may be asked for: an address is silent meanwhile."""

PROBE_COUNT = 2
"""Probes in that time."""

ANSWER_LIMIT = 20_000
"""Requests that a link answers in a second at most: 10 Mbit/s of replies, and more than ten thousand hosts ask together when power
returns."""

MIN_ANSWER_LIMIT = 100
"""The least limit that may be asked for: below, one requester would have less than an answer in a tenth of a second."""

MAX_ANSWER_LIMIT = 1_000_000_000
"""More than any link carries."""

HOLD_GRANT = 2.0
"""Seconds for which control lets the responder hold an address beyond its deadline. It says so again in half of that, as long as it
lives and the API is out of reach."""

HOLD_LEAD = 1.0
"""Seconds before the deadline from which an address that may have to be held is probed for."""

HOLD_PROBE_INTERVAL = 2.0
"""Seconds between two probes for an address that is held."""

HOLD_VOUCH = 5.0
"""Seconds, from when a probe that found nobody was sent, for which an address is held: two probes in a row may be lost."""

HEARTBEAT = 0.5
"""The responder reports at least this often."""

GATE_TIMEOUT = 2.0
"""A responder that was silent for this long does not answer as far as the election is concerned (the gate)."""

LONGEST_LEASE = 3600.0
"""The longest lease duration: for that long a crash leaves an address dead, and whatever is above is a slip of the pen."""

RANK_STEP = 0.05
"""How much longer the next candidate in rank waits before it takes a free lease."""

HOLD_DOWN = 30.0
"""Seconds for which a node must have been able to hold a lease before it asks the holder for it: longer than what comes and goes."""

START_SPREAD = 2.0
"""Seconds, from when an agent is ready, in which it leaves leases that it never saw held to their first choice. Agents that are started
together, by a rollout or when power returns, are ready within that time of each other; without it the first would take nearly all."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Lease timings. ``lease_duration``: how long others must see no renewal before they take over; whole seconds, as the Lease object
    stores them. ``renew_deadline``: the interval at which a holder renews. ``retry_period``: the wait before a failed write is tried
    again. ``announce_refresh``: the interval at which held addresses are announced again, 0 for never.
    ``probe_wait``: how long a probe for an address that nobody held waits for an answer, 0 for no probes.
    ``rebalance``: the interval at which a node that holds too little asks for one lease, 0 for never.
    ``answer_limit``: how many requests one link answers in a second at most, 0 for any number.
    ``hold_on_api_loss``: whether an address whose lease cannot be renewed is answered beyond its deadline while nobody else claims it."""

    lease_duration: float = 15.0
    renew_deadline: float = 5.0
    retry_period: float = 2.0
    announce_refresh: float = ANNOUNCE_REFRESH
    probe_wait: float = PROBE_WAIT
    answer_limit: int = ANSWER_LIMIT
    rebalance: float = 0.0
    hold_on_api_loss: bool = False

    def __post_init__(self) -> None:
        if not self.lease_duration >= 1 or self.lease_duration % 1 != 0:
            raise ConfigurationError(
                f"--lease-duration {self.lease_duration:g}s: must be a whole number of seconds, at least 1s (a Lease stores whole seconds)"
            )
        if self.lease_duration > LONGEST_LEASE:
            raise ConfigurationError(
                f"--lease-duration {self.lease_duration:g}s: must be at most {LONGEST_LEASE:g}s (1h), as a crash leaves the addresses "
                "unanswered for so long; the default is 15s"
            )
        if not self.renew_deadline > 0:
            raise ConfigurationError(f"--lease-renew-deadline {self.renew_deadline:g}s: must be above 0s")
        if not self.retry_period > 0:
            raise ConfigurationError(f"--lease-retry-period {self.retry_period:g}s: must be above 0s")
        if self.renew_deadline >= self.lease_duration * FENCE:
            raise ConfigurationError(
                f"--lease-renew-deadline {self.renew_deadline:g}s: must be below {FENCE:g} of the lease duration "
                f"{self.lease_duration:g}s; raise --lease-duration or lower --lease-renew-deadline"
            )
        if self.renew_deadline <= 1.2 * self.retry_period:
            raise ConfigurationError(
                f"--lease-retry-period {self.retry_period:g}s: 1.2 times it must be below the lease renew deadline "
                f"{self.renew_deadline:g}s; lower --lease-retry-period"
            )
        if not 0 <= self.probe_wait <= MAX_PROBE_WAIT:
            raise ConfigurationError(
                f"--probe-wait {self.probe_wait:g}s: must be from 0s, which probes for nothing, to {MAX_PROBE_WAIT:g}s"
            )
        if self.answer_limit != 0 and not MIN_ANSWER_LIMIT <= self.answer_limit <= MAX_ANSWER_LIMIT:
            raise ConfigurationError(
                f"--answer-limit {self.answer_limit}: must be from {MIN_ANSWER_LIMIT} to {MAX_ANSWER_LIMIT} a second, or 0 for no limit"
            )
        if self.rebalance != 0 and self.rebalance < 1:
            raise ConfigurationError(f"--rebalance {self.rebalance:g}s: must be at least 1s, or 0s for no rebalancing")
        if self.announce_refresh != 0 and not MIN_REFRESH <= self.announce_refresh < math.inf:
            raise ConfigurationError(
                f"--announce-refresh {self.announce_refresh:g}s: must be at least {MIN_REFRESH:g}s, or 0s for no refresh; "
                "below 300s it keeps switches from forgetting"
            )

    @property
    def hold_lead(self) -> float:
        """Seconds before the end of a right from which the datapath prepares to do without."""
        return min(HOLD_LEAD, self.restart_bound / 2)

    @property
    def restart_bound(self) -> float:
        """The time, in seconds, within which a control process that died may come back and renew without anybody noticing: its responder
        answers until the fence of a lease that was last renewed up to a renew deadline ago."""
        return FENCE * self.lease_duration - self.renew_deadline

    @property
    def failover_bound(self) -> float:
        """The longest time, in seconds, that an address of a crashed holder stays unanswered while the API is reachable."""
        return self.lease_duration + self.retry_period
