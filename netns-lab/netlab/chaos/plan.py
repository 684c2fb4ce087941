"""Which fault, when, on which node, for how long: drawn from a seed, the same in every run. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

OVERLAP = 0.25
"""The share of faults that begin while the one before still lasts."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. ``shortest`` and ``longest`` bound its duration in seconds; ``weight`` is how often it is drawn."""

    name: str
    shortest: float
    longest: float
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of a plan: seconds after the start of its round, and how long it lasts. ``chance`` is for choices of the fault itself."""

    kind: str
    at: float
    seconds: float
    node: str
    chance: float


def make_plan(
    seed: int, round_number: int, seconds: float, kinds: Sequence[Kind], nodes: Sequence[str], rest: float
) -> tuple[Planned, ...]:
    """The faults of one round of ``seconds``. Between the end of one and the begin of the next lie ``rest`` to twice that many seconds, so
    that the bound after it can be judged; but OVERLAP of them begin before the last one ended."""
    draw = random.Random(f"{seed}/{round_number}")  # noqa: S311 - to be repeated, not to be secret
    at = draw.uniform(0.5, 1.5)
    plan: list[Planned] = []
    while True:
        kind = draw.choices(kinds, [each.weight for each in kinds])[0]
        lasts = round(draw.uniform(kind.shortest, kind.longest), 3)
        if at + lasts + rest > seconds:
            return tuple(plan)
        plan.append(Planned(kind.name, round(at, 3), lasts, draw.choice(nodes), draw.random()))
        overlapping = draw.random() < OVERLAP
        at += draw.uniform(0.0, lasts) if overlapping else lasts + draw.uniform(rest, 2 * rest)
