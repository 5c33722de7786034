"""Claims of a paper: each with its arms, its data sets and the band for its figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tutelage.errors import ConfigError, did_you_mean

Kind = Literal["gap", "value", "spread"]
Mark = Literal["known", "inferred", "ours"]
Measure = Literal["score", "before", "teacher", "share", "rows", "aim"]

KINDS: tuple[str, ...] = get_args(Kind)
MARKS: tuple[str, ...] = get_args(Mark)
MEASURES: tuple[str, ...] = get_args(Measure)
TABLES = ("main", "ablations")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a claim: a measure of the runs of an arm."""

    arm: str
    measure: Measure = "score"

    def __str__(self) -> str:
        """The side as claims.yaml writes it: ``arm`` or ``arm:measure``."""
        return self.arm if self.measure == "score" else f"{self.arm}:{self.measure}"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train: its title and, by scale, its overrides."""

    name: str
    title: str
    overrides: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set of a scale.

    Attributes:
        name: Its name in results; with a number of shots at scales that have several.
        overrides: Its overrides.
        metric: The metric on test for comparing its runs.
        base: Its name in the file of claims, which several numbers of shots share.
    """

    name: str
    overrides: tuple[str, ...]
    metric: str
    base: str

    @property
    def path(self) -> str:
        """The folder of its files; "" where no override names one."""
        paths = (override.partition("=") for override in self.overrides)
        return next((path for key, _, path in paths if key == "data.path"), "")


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of the runs: models, data sets and seeds.

    Attributes:
        name: ``cpu``, ``full`` or ``sets``.
        overrides: Overrides of every run.
        seeds: One run per seed, arm and data set.
        minutes: Mean duration of a run; None if nobody has measured it.
        gpu: The necessary GPU in words; "" for none.
        sets: The data sets by name.
        folder: The folder that holds the data sets; "" if they are shipped or loaded from the hub.
    """

    name: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    minutes: float | None
    gpu: str
    sets: Mapping[str, DataSet]
    folder: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of a paper, and the evidence for it here.

    The head of claims.yaml explains kinds and measures.

    Attributes:
        id: Names the claim on the command line.
        says: The statement, in our words.
        mark: Known of the paper, inferred, or a question of ours.
        table: The table of the paper's results: main or ablations.
        kind: Gap, value or spread.
        better, worse: The two sides; ``worse`` is empty for a value.
        times: Factor of ``worse``.
        low, high: The band, open at both ends; of a gap in the unit of the metric.
        sets: Names of data sets, by scale.
        skipped: By scale, the reason for running nothing.
        chosen: Our own choices, where the paper leaves them open.
        paper: The paper that makes it, in a group of several papers; else "".
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
    paper: str = ""

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms on either side, each once."""
        return tuple(dict.fromkeys(side.arm for side in (*self.better, *self.worse)))

    @property
    def in_points(self) -> bool:
        """Whether the figure is a share, shown in percent; False for a correlation."""
        return all(side.measure != "aim" for side in self.better)

    def shown(self, value: float) -> str:
        """Formats a figure: signed points for a difference, percent for a share."""
        if not math.isfinite(value):
            return "–"
        if not self.in_points:
            return f"{value:+.2f}"
        return f"{100 * value:+.1f}" if self.kind != "value" else f"{100 * value:.1f} %"

    @property
    def expected(self) -> str:
        """The band in words."""
        better, worse = _listed(self.better), _listed(self.worse) if self.worse else ""
        if self.kind == "spread":
            return f"standard deviation of {better} minus that of {worse}: below 0 points"
        if self.kind == "gap":
            factor = f" × {self.times:g}" if self.times != 1 else ""
            return f"{better} minus {worse}{factor}: above {100 * self.low:g} points"
        bounds = [f"above {self.shown(self.low)}"] * math.isfinite(self.low)
        bounds += [f"below {self.shown(self.high)}"] * math.isfinite(self.high)
        return f"{better}: {' and '.join(bounds)}"


@dataclass(frozen=True, slots=True)
class Paper:
    """One paper of claims.yaml, or a group of papers: scales, arms and claims."""

    name: str
    title: str
    scales: Mapping[str, Scale]
    arms: Mapping[str, Arm]
    claims: tuple[Claim, ...]

    def scale(self, name: str) -> Scale:
        """Returns a scale by its name.

        Raises:
            ConfigError: The paper has no such scale.
        """
        if name not in self.scales:
            raise ConfigError(did_you_mean("scale", name, self.scales))
        return self.scales[name]

    def only(self, ids: Sequence[str] = (), table: str | None = None) -> tuple[Claim, ...]:
        """Chooses claims, in the paper's order.

        Args:
            ids: Ids of claims; none chooses all of them.
            table: One table of the paper, ``main`` or ``ablations``; None for both.

        Raises:
            ConfigError: An unknown id or table, or no claim of ``ids`` is in ``table``.
        """
        known = [claim.id for claim in self.claims]
        # Check both options before they are combined.
        for wanted in ids:
            if wanted not in known:
                raise ConfigError(did_you_mean("claim", wanted, known))
        if table is not None and table not in TABLES:
            raise ConfigError(did_you_mean("table", table, TABLES))
        in_table = [claim for claim in self.claims if table in (None, claim.table)]
        chosen = tuple(claim for claim in in_table if not ids or claim.id in ids)
        if ids and not chosen:
            raise ConfigError(
                f"--only {' '.join(ids)} names no claim of --table {table}, which has "
                f"{', '.join(claim.id for claim in in_table)}. Leave one of the two out."
            )
        return chosen


def _listed(sides: Sequence[Side]) -> str:
    return str(sides[0]) if len(sides) == 1 else f"each of {', '.join(map(str, sides))}"
