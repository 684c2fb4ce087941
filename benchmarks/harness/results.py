"""What was found: figures of systems under test, round by round. Pure."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

DISTURBED = 0.06
"""The share of the answering core taken by other programs from which on a round says nothing about CPU."""


@dataclass(slots=True)
class Series:
    """One figure of one system, round by round."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one; of an even number, the mean of the two in the middle."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Largest less smallest."""
        return max(self.values) - min(self.values)


@dataclass(slots=True)
class Figures(Mapping[str, Series]):
    """The figures of one system in one case. The name of a figure ends in its unit."""

    rounds: dict[str, Series] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Series:
        return self.rounds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rounds)

    def __len__(self) -> int:
        return len(self.rounds)


@dataclass(slots=True)
class Result:
    """One case. ``disturbed`` is the share of the answering core that other programs took in the worst round."""

    case: str
    systems: dict[str, Figures] = field(default_factory=dict)
    disturbed: float = 0.0

    def add(self, system: str, **values: float) -> None:
        """One round of one system: figure by name."""
        figures = self.systems.setdefault(system, Figures())
        for name, value in values.items():
            figures.rounds.setdefault(name, Series()).values.append(value)

    def median(self, system: str, figure: str) -> float:
        """The median of a figure. KeyError when it was not measured."""
        return self.systems[system][figure].median

    def ratio(self, figure: str) -> float:
        """The responder's median beside the kernel's; infinite when the kernel's is 0."""
        kernel = self.median("kernel", figure)
        return self.median("responder", figure) / kernel if kernel else float("inf")

    @property
    def is_disturbed(self) -> bool:
        """True when other programs took so much of the core that its time says nothing."""
        return self.disturbed > DISTURBED

    def undisturbed(self) -> "Result":
        """The same, for figures that do not depend on what else runs."""
        return replace(self, disturbed=0.0)

    def as_json(self) -> dict[str, Any]:
        """Everything, for benchmarks/out/results.json: medians and all rounds."""
        systems = {
            name: {figure: {"median": series.median, "rounds": series.values} for figure, series in figures.items()}
            for name, figures in self.systems.items()
        }
        return {"case": self.case, "disturbed": self.disturbed, "systems": systems}
