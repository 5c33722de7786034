"""What was measured, and the recipe that it supports for given data, teacher and budget.

``measurements.yaml`` holds the figures. ``tutelage advise`` and the documentation's page "Which
method should I use?" both choose by :func:`choose`, so they cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from tutelage.errors import ConfigError, did_you_mean

TABLE = Path(__file__).parent / "measurements.yaml"
TEACHER, GOLD = "teacher", "gold"
"""Rows of a study that are no recipe: the teacher's labels, and a student of every gold label."""
MIN_PAIRS = 3
"""Pairs of set and seed that a comparison needs; a study with fewer decides nothing."""
MIN_POOL = 100
"""Texts from which a pool counts; measured were 1,000."""
NEAR = 2.0
"""Factor of size or shots from which a measurement counts as one of another situation."""
SAME_PRICE = 1.25
"""Recipes whose tokens differ by no larger factor cost the same, and the better mean wins."""
WORTH = 1.0
"""Points that a dearer recipe has to gain, with an interval above 0."""

Need = Literal["shots", "pool", "dev"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A run that a user can make.

    Attributes:
        key: Its name in the table.
        title: Its name for readers.
        does: What teacher and student do, in one sentence.
        overrides: The run's overrides.
        needs: What the data must have.
    """

    key: str
    title: str
    does: str
    overrides: tuple[str, ...]
    needs: frozenset[Need]

    @property
    def asks_teacher(self) -> bool:
        """Whether a run of it asks the teacher; training on the shots alone does not."""
        return "method=shots" not in self.overrides


@dataclass(frozen=True, slots=True)
class Row:
    """The measurement of a recipe, a teacher or a ceiling on one data set.

    Attributes:
        recipe: Key of the recipe, or :data:`TEACHER` or :data:`GOLD`.
        set: Name of the data set.
        classes: Number of classes or entity types; 0 for a mean of several sets.
        scores: The study's metric on test in %, one per seed, in the order of the seeds.
        tokens: Mean billed tokens of a run; None if not known.
        label_tokens: Billed tokens per label of a teacher alone; None if not known.
    """

    recipe: str
    set: str
    scores: tuple[float, ...]
    classes: int = 0
    tokens: int | None = None
    label_tokens: int | None = None

    @property
    def mean(self) -> float:
        """Mean score over the seeds, in %."""
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True, slots=True)
class Study:
    """Rows that differ in recipe, set and seed only.

    Attributes:
        name: What was compared.
        task: "classification" or "ner".
        teacher: Name of the teacher.
        millions: Its number of parameters, in millions.
        shots: Labelled texts per class or entity type.
        pool: Number of unlabelled texts; 0 without a pool.
        metric: Name of the scores.
        source: Page and section of the documentation.
        command: What repeats the runs.
        rows: The measurements.
        settings: Further overrides of the measured runs, by recipe.
        minutes: Duration of a measured run, in minutes, in words; "" if not known.
    """

    name: str
    task: str
    teacher: str
    millions: float
    shots: int
    pool: int
    metric: str
    source: str
    command: str
    rows: tuple[Row, ...]
    settings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    minutes: str = ""

    @property
    def recipes(self) -> tuple[str, ...]:
        """Keys of the recipes with rows, in the order of the table."""
        keys = dict.fromkeys(row.recipe for row in self.rows)
        return tuple(key for key in keys if key not in (TEACHER, GOLD))

    def of(self, recipe: str) -> dict[str, Row]:
        """Returns the rows of a recipe by data set."""
        return {row.set: row for row in self.rows if row.recipe == recipe}

    def pairs(self, recipe: str, other: str) -> list[float]:
        """Returns the differences of two recipes, in points, over common sets and seeds."""
        ours, theirs = self.of(recipe), self.of(other)
        return [
            mine - its
            for name, row in ours.items()
            if name in theirs
            for mine, its in zip(row.scores, theirs[name].scores, strict=False)
        ]

    def price(self, recipe: str) -> float:
        """Returns the mean billed tokens of a recipe over its sets; 0 where they are not known."""
        known = [row.tokens for row in self.of(recipe).values() if row.tokens is not None]
        return sum(known) / len(known) if known else 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """The content of measurements.yaml.

    Attributes:
        recipes: The recipes by key.
        studies: The studies.
        rates: Labels per second by millions of the teacher's parameters.
    """

    recipes: Mapping[str, Recipe]
    studies: tuple[Study, ...]
    rates: Mapping[float, float]


@dataclass(frozen=True, slots=True)
class Situation:
    """What a user has.

    Attributes:
        task: "classification" or "ner".
        shots: Labelled texts per class or entity type.
        pool: Number of unlabelled texts.
        dev: Number of labelled dev texts.
        millions: The teacher's parameters, in millions; 0 if not known.
    """

    task: str
    shots: int
    pool: int
    dev: int
    millions: float

    def has(self, recipe: Recipe) -> bool:
        """Returns whether the data have what a recipe needs."""
        given = {"shots": self.shots > 0, "pool": self.pool >= MIN_POOL, "dev": self.dev > 0}
        return all(given[need] for need in recipe.needs)


@dataclass(frozen=True, slots=True)
class Gain:
    """One recipe minus another over common sets and seeds.

    Attributes:
        points: Mean difference, in points of the metric.
        low, high: Its 95 % interval by Student's t; infinite for one pair.
        pairs: Number of pairs of set and seed.
    """

    points: float
    low: float
    high: float
    pairs: int

    def __neg__(self) -> Gain:
        """Returns the gain of the other one."""
        return Gain(-self.points, -self.high, -self.low, self.pairs)

    def __str__(self) -> str:
        """Returns the points with their interval, as in "+4.1 (+2.6 to +5.5)"."""
        # Adding 0.0 leaves no negative zero.
        points, low, high = (
            f"{round(one, 1) + 0.0:+.1f}" for one in (self.points, self.low, self.high)
        )
        return f"{points} ({low} to {high})".replace("-", "−")


@dataclass(frozen=True, slots=True)
class Choice:
    """The recipe that the measurements support.

    Attributes:
        recipe: The recipe; None where no study covers any that the data allow.
        study: The study that decides; None likewise.
        passed_over: Recipes that were compared with it, with its gain over each.
        too_dear: Better recipes that the budget does not cover.
    """

    recipe: Recipe | None
    study: Study | None
    passed_over: tuple[tuple[Recipe, Gain], ...] = ()
    too_dear: tuple[Recipe, ...] = ()


@cache
def measurements() -> Table:
    """Reads the shipped table."""
    return read_table(TABLE)


def read_table(path: Path) -> Table:
    """Reads and checks a table.

    Args:
        path: A file in the format that the head of measurements.yaml explains.

    Raises:
        ConfigError: A row names an unknown recipe, or a field is missing or unknown.
    """
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        recipes = {
            key: Recipe(
                key,
                one["title"],
                one["does"],
                tuple(one["overrides"]),
                frozenset(one["needs"]),
            )
            for key, one in found["recipes"].items()
        }
        studies = tuple(
            Study(**{**one, "rows": tuple(map(_row, one["rows"]))}) for one in found["studies"]
        )
        rates = {float(one["millions"]): float(one["labels_a_second"]) for one in found["rates"]}
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no table of measurements: {error}.") from error
    for study in studies:
        for key in study.recipes:
            if key not in recipes:
                raise ConfigError(f"{path}: {did_you_mean('recipe', key, recipes)}")
    return Table(recipes, studies, rates)


def _row(found: Mapping[str, Any]) -> Row:
    return Row(**{**found, "scores": tuple(map(float, found["scores"]))})


def gain(differences: Sequence[float]) -> Gain:
    """Returns the mean of paired differences with its interval.

    Args:
        differences: At least one.
    """
    from scipy.stats import t

    count = len(differences)
    mean = sum(differences) / count
    if count == 1:
        return Gain(mean, -math.inf, math.inf, 1)
    variance = sum((one - mean) ** 2 for one in differences) / (count - 1)
    half = float(t.ppf(0.975, count - 1)) * math.sqrt(variance / count)
    return Gain(mean, mean - half, mean + half, count)


def choose(
    table: Table, situation: Situation, affordable: Callable[[Recipe], bool] = lambda _: True
) -> Choice:
    """Returns the recipe that the measurements support.

    The study nearest to the situation decides. Its recipes are compared from the cheapest upwards:
    a dearer one wins if it gains :data:`WORTH` points or more and the interval of its gain lies
    above 0. Of two that cost the same, the better mean wins.

    Args:
        table: The measurements.
        situation: What the user has.
        affordable: Whether the budget covers a recipe.
    """
    study = nearest_study(table, situation)
    if study is None:
        return Choice(None, None)
    usable = [table.recipes[key] for key in study.recipes if situation.has(table.recipes[key])]
    best = _winner(study, usable)
    paid = [recipe for recipe in usable if affordable(recipe)]
    chosen = _winner(study, paid)
    compared = tuple(
        (other, gain(differences))
        for other in usable
        if chosen is not None
        and other != chosen
        and (differences := study.pairs(chosen.key, other.key))
    )
    dear = (best,) if best is not None and best != chosen else ()
    return Choice(chosen, study, compared, dear)


def _winner(study: Study, recipes: Sequence[Recipe]) -> Recipe | None:
    """The best recipe that is worth its tokens."""
    best: Recipe | None = None
    for recipe in sorted(recipes, key=lambda one: study.price(one.key)):
        if best is None or _beats(study, recipe.key, best.key):
            best = recipe
    return best


def _beats(study: Study, dearer: str, cheaper: str) -> bool:
    differences = study.pairs(dearer, cheaper)
    if len(differences) < MIN_PAIRS:
        return False
    found = gain(differences)
    common = study.of(dearer).keys() & study.of(cheaper).keys()
    ours, theirs = (
        sum(study.of(key)[name].tokens or 0 for name in common) for key in (dearer, cheaper)
    )
    if ours <= SAME_PRICE * theirs:
        return found.points > 0
    return found.points >= WORTH and found.low > 0


def nearest_study(table: Table, situation: Situation) -> Study | None:
    """Returns the study that decides.

    Teachers of up to twice or half the size come first. Among them, where there is a pool, it is
    one with a recipe for pools. Then the nearest size of teacher counts, and after it the nearest
    number of shots, both on a logarithmic scale. An unknown teacher counts as the largest one
    measured.
    """
    studies = [
        study
        for study in table.studies
        if study.task == situation.task and _decides(table, study, situation)
    ]
    largest = max((study.millions for study in studies), default=1.0)
    millions = situation.millions or largest

    def distance(study: Study) -> tuple[bool, bool, float, float]:
        size = abs(math.log(study.millions / millions))
        lacks_pool = situation.pool >= MIN_POOL and not any(
            "pool" in table.recipes[key].needs for key in study.recipes
        )
        return (
            size > math.log(NEAR),
            lacks_pool,
            size,
            abs(math.log((study.shots + 1) / (situation.shots + 1))),
        )

    return min(studies, key=distance, default=None)


def _decides(table: Table, study: Study, situation: Situation) -> bool:
    """Whether a study compares recipes that the data allow, over enough sets and seeds."""
    usable = [key for key in study.recipes if situation.has(table.recipes[key])]
    return any(
        len(study.pairs(one, other)) >= MIN_PAIRS
        for one in usable
        for other in usable
        if one != other
    )


def teacher_alone(table: Table, situation: Situation) -> tuple[Study, Row] | None:
    """Returns how well the nearest teacher labels at the nearest number of shots (mean of sets)."""
    found = [
        (study, row)
        for study in table.studies
        if study.task == situation.task
        for row in study.rows
        if row.recipe == TEACHER and row.classes == 0
    ]
    largest = max((study.millions for study, _ in found), default=1.0)
    millions = situation.millions or largest
    return min(
        found,
        key=lambda one: (
            abs(math.log(one[0].millions / millions)),
            abs(one[0].shots - situation.shots),
        ),
        default=None,
    )
