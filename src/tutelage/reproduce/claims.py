"""A paper's claims: what it says, which arms on which data sets would show it, and the band that their figure has to lie in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tutelage.errors import ConfigError, did_you_mean

Kind = Literal["gap", "value", "spread"]
Mark = Literal["known", "inferred"]
Measure = Literal["score", "before", "teacher", "share", "rows", "aim"]

KINDS: tuple[str, ...] = get_args(Kind)
MARKS: tuple[str, ...] = get_args(Mark)
MEASURES: tuple[str, ...] = get_args(Measure)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a claim: a measure of an arm's runs."""

    arm: str
    measure: Measure = "score"

    def __str__(self) -> str:
        """As claims.yaml has it."""
        return self.arm if self.measure == "score" else f"{self.arm}:{self.measure}"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train: its title and, by scale, its overrides."""

    name: str
    title: str
    overrides: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set of a scale: its overrides, and the metric on test that its runs are compared by."""

    name: str
    overrides: tuple[str, ...]
    metric: str


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the runs are.

    Attributes:
        words: overrides of every run.
        minutes: of a run, in the mean; None where nobody has measured it.
        gpu: the GPU that it needs, in words; "" for none.
    """

    name: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    minutes: float | None
    gpu: str
    sets: Mapping[str, DataSet]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a paper says, and what would show it here; claims.yaml tells what the kinds are.

    Attributes:
        says: the paper's claim, in our words.
        mark: known of the paper, or inferred.
        table: of the paper's results: main or ablations.
        better, worse: its sides; ``worse`` is empty for a value.
        times: what ``worse`` is multiplied by.
        low, high: the band, open at both ends; of a gap in the metric's own unit.
        sets: names of data sets, by scale.
        skipped: by scale, why there is nothing to run.
        chosen: what we had to choose for it.
    """

    id: str
    says: str
    mark: Mark
    table: str
    kind: Kind
    better: tuple[Side, ...]
    worse: tuple[Side, ...]
    times: float
    low: float
    high: float
    sets: Mapping[str, tuple[str, ...]]
    skipped: Mapping[str, str]
    chosen: tuple[str, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it needs, each once."""
        return tuple(dict.fromkeys(side.arm for side in (*self.better, *self.worse)))

    @property
    def in_points(self) -> bool:
        """Whether its figure is a share that is read in percent, and not a correlation."""
        return all(side.measure != "aim" for side in self.better)

    def shown(self, value: float) -> str:
        """A figure of the claim as it is written: points with a sign for a difference, percent for a share."""
        if not math.isfinite(value):
            return "–"
        if not self.in_points:
            return f"{value:+.2f}"
        return f"{100 * value:+.1f}" if self.kind != "value" else f"{100 * value:.1f} %"

    @property
    def expected(self) -> str:
        """The band in words."""
        if self.kind == "spread":
            return f"standard deviation of {_listed(self.better)} less that of {_listed(self.worse)}: below 0 points"
        if self.kind == "gap":
            factor = f" × {self.times:g}" if self.times != 1 else ""
            return f"{_listed(self.better)} less {_listed(self.worse)}{factor}: above {100 * self.low:g} points"
        bounds = [f"above {self.shown(self.low)}"] * math.isfinite(self.low) + [
            f"below {self.shown(self.high)}"
        ] * math.isfinite(self.high)
        return f"{_listed(self.better)}: {' and '.join(bounds)}"


@dataclass(frozen=True, slots=True)
class Paper:
    """Everything that claims.yaml has of one paper."""

    name: str
    title: str
    scales: Mapping[str, Scale]
    arms: Mapping[str, Arm]
    claims: tuple[Claim, ...]

    def scale(self, name: str) -> Scale:
        """A scale by its name.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.scales:
            raise ConfigError(did_you_mean("scale", name, self.scales))
        return self.scales[name]

    def only(self, ids: Sequence[str]) -> tuple[Claim, ...]:
        """The claims of these ids, in the paper's order; all where none is given.

        Raises:
            ConfigError: there is none of that id.
        """
        known = [claim.id for claim in self.claims]
        for wanted in ids:
            if wanted not in known:
                raise ConfigError(did_you_mean("claim", wanted, known))
        return tuple(claim for claim in self.claims if not ids or claim.id in ids)


def _listed(sides: Sequence[Side]) -> str:
    return str(sides[0]) if len(sides) == 1 else f"each of {', '.join(map(str, sides))}"
