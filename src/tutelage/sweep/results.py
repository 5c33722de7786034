"""The results of a sweep: arms (configurations without their seed) by data set, run by run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from tutelage.errors import RunError
from tutelage.runs.files import RunFiles
from tutelage.runs.folder import RunFolder
from tutelage.runs.records import checked_share
from tutelage.runs.shapes import ManifestShape, ResultShape, why
from tutelage.sweep.arms import (
    NamedRun,
    arm_overrides,
    configuration_of,
    differing_overrides,
    joined,
    name_arms,
    namesakes,
)
from tutelage.sweep.curve import Point, read_curve
from tutelage.sweep.record import JobRecord, SweepFolder
from tutelage.tasks.protocol import Metric

Block = tuple[str, int]
"""A data set and a seed; arms are compared within blocks."""


SHARES = {"unique": "pool used", "selections": "rows kept"}
"""Titles of the two shares of data: distinct pool texts that a step has learnt from, as a share of
the pool; rows kept, as a share of the rows offered in all steps."""

_MOST_SETTINGS = 100_000
_UNREADABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    YAMLError,
)


@dataclass(frozen=True, slots=True)
class ArmRun:
    """A finished run.

    Attributes:
        arm: Its configuration without the seed (:func:`~tutelage.sweep.arms.name_arms`).
        data: Its data set.
        seed: Its seed.
        folder: Its folder.
        scores: The headline metrics on test, in [0, 1].
        majority: The same of the most frequent class of the test set; empty for entities, and in
            runs of older versions.
        tokens: Billed tokens.
        shares: Its :data:`SHARES`; empty without a pool.
        curve: Its scores on dev, from round 0 to the end.
    """

    arm: str
    data: str
    seed: int
    folder: Path
    scores: dict[str, float]
    tokens: int
    shares: dict[str, float]
    curve: tuple[Point, ...]
    majority: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SweepResults:
    """The content of a sweep's report.

    Attributes:
        folder: The sweep's folder.
        jobs: The records of all jobs.
        runs: The finished runs.
        metrics: Key and title of the headline metrics, the sweep's own first.
        arms: The arms, in the order of their first job.
        data: The data sets.
        notes: Warnings for the reader: failed jobs, missing seeds, unequal budgets.
    """

    folder: Path
    jobs: tuple[JobRecord, ...]
    runs: tuple[ArmRun, ...]
    metrics: tuple[tuple[str, str], ...]
    arms: tuple[str, ...]
    data: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def metric(self) -> str:
        """Key of the metric for comparing arms."""
        return self.metrics[0][0]

    def of(self, arm: str, data: str | None = None) -> tuple[ArmRun, ...]:
        """The runs of an arm, on one data set or on all of them."""
        return tuple(run for run in self.runs if run.arm == arm and data in (None, run.data))

    @property
    def shares(self) -> dict[str, str]:
        """Key and title of each share of data found in at least one run."""
        return {
            key: title
            for key, title in SHARES.items()
            if any(key in run.shares for run in self.runs)
        }

    def majority(self, data: str, key: str) -> float | None:
        """A metric of the most frequent class of a data set's test texts; None if unknown."""
        known = (run.majority[key] for run in self.runs if run.data == data and key in run.majority)
        return next(known, None)

    def blocks(self, arm: str) -> dict[Block, float]:
        """The metric of an arm by data set and seed; of several runs per seed the last counts."""
        return {(run.data, run.seed): run.scores[self.metric] for run in self.of(arm)}


def read_sweep(folder: Path, metric: str | None = None, by_overrides: bool = False) -> SweepResults:
    """Reads the finished runs of a sweep and groups them into arms.

    Args:
        folder: multirun_sweeps/<name>/<time>, or multirun_sweeps/<name> for the newest one.
        metric: Metric for comparing arms; None for the sweep's own, or the task's first one.
        by_overrides: Groups runs by the overrides of their jobs alone, even if their
            configurations differ, as those of two versions do.

    Raises:
        RunError: No folder of a sweep, no finished job, or no such metric.
    """
    times = [path.parent for path in folder.glob("*/jobs")]
    sweep = SweepFolder(folder if (folder / "jobs").is_dir() else max(times, default=folder))
    jobs = sweep.jobs()
    if not jobs:
        raise RunError(
            f"{folder} is no folder of a sweep (it has no jobs/). Give multirun_sweeps/<name> or a "
            "folder in it."
        )
    done = [job for job in jobs if job.state == "done"]
    if not done:
        raise RunError(
            f"None of the {len(jobs)} jobs of {sweep.path} is done, so there is nothing to report. "
            f"The first error: {jobs[0].error}"
        )

    # Read every finished run, then name the arms.
    differing = differing_overrides([job.overrides for job in jobs])
    titles, read, unreadable = _read(sweep, done, differing, metric or _metric_of(sweep))
    candidates = [candidate for _, candidate in read]
    names = tuple(one.overrides for one in candidates) if by_overrides else name_arms(candidates)
    runs = tuple(replace(run, arm=arm) for (run, _), arm in zip(read, names, strict=True))

    arms = tuple(dict.fromkeys(run.arm for run in runs))
    data = tuple(dict.fromkeys(run.data for run in runs))
    notes = [
        *unreadable,
        *_of_jobs(jobs, sweep.expected or len(jobs), differing),
        *(_of_joined(candidates) if by_overrides else _of_names(candidates, names)),
        *_of_runs(runs),
    ]
    return SweepResults(sweep.path, jobs, runs, tuple(titles.items()), arms, data, tuple(notes))


def mean_tokens(runs: Sequence[ArmRun]) -> float:
    """Mean of the billed tokens per run."""
    return sum(run.tokens for run in runs) / len(runs)


def mean_share(runs: Sequence[ArmRun], key: str) -> float | None:
    """Mean of one of :data:`SHARES` over the runs with such a share; None without any."""
    found = [run.shares[key] for run in runs if key in run.shares]
    return sum(found) / len(found) if found else None


def _metric_of(sweep: SweepFolder) -> str | None:
    """The metric that the sweep itself compares arms by; None if it has not chosen one."""
    composed = sweep.path / "multirun.yaml"
    try:
        # Not resolved: a reference in a folder from elsewhere could be to a secret.
        found: Any = OmegaConf.to_container(OmegaConf.load(composed)) if composed.is_file() else {}
        chosen = found["sweep"]["metric"]
    except (*_UNREADABLE, OSError, OmegaConfBaseException, YAMLError):
        return None
    return chosen if isinstance(chosen, str) else None


def _read(
    sweep: SweepFolder, done: Sequence[JobRecord], differing: frozenset[str], metric: str | None
) -> tuple[dict[str, str], list[tuple[ArmRun, NamedRun]], list[str]]:
    """Reads the finished runs.

    Returns:
        Titles of the headline metrics by key, the metric for comparing arms first; the runs; and a
        note per run that cannot be read.

    Raises:
        RunError: None can be read, or they have no such metric.
    """
    titles: dict[str, str] = {}
    read, notes = [], []
    for job in done:
        try:
            result, manifest = _files_of(sweep, job)
            if not titles:
                titles = _titles(sweep, result, metric)
            read.append(_run(sweep.run_of(job), job, differing, list(titles), result, manifest))
        except _NoMetric:
            raise
        except RunError as error:
            notes.append(f"Job {job.number} is left out: {error}")
    if not read:
        raise RunError(notes[0])
    return titles, read, notes


class _NoMetric(RunError):
    """The runs have no such metric."""


def _titles(sweep: SweepFolder, result: Mapping[str, Any], metric: str | None) -> dict[str, str]:
    given = result["metrics"]
    entries = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    titles = {str(one.get("key")): str(one.get("title")) for one in entries}
    if not titles:
        raise RunError('its result.json has no list of "metrics".')
    first = metric or next(iter(titles))
    if first not in titles:
        raise _NoMetric(f"The runs of {sweep.path} have {', '.join(titles)}, not {first}.")
    return {first: titles[first], **titles}


def _files_of(sweep: SweepFolder, job: JobRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """result.json and manifest.json of a job's run, which is in this sweep or an earlier one."""
    folder = sweep.run_of(job)
    try:
        inside = folder.resolve().is_relative_to(sweep.path.resolve().parent)
    except (OSError, RuntimeError, ValueError):
        inside = False  # no path at all, or a circle of links
    if not inside:
        raise RunError(
            f"its record names {job.folder!r}, which is outside {sweep.path.parent} and not read."
        )
    if not (folder / "result.json").is_file():
        raise RunError(
            f"{folder} has no result.json: the run that job {job.number} found there is gone. "
            "Start the sweep again."
        )
    files = RunFiles(folder, tolerant=False)
    result = files.essential("result.json", ("metrics", "after", "tokens", "seed"))
    manifest = files.essential("manifest.json", ("data",))
    return (
        files.shaped(ResultShape, "result.json", result),
        files.shaped(ManifestShape, "manifest.json", manifest),
    )


def _run(
    folder: Path,
    job: JobRecord,
    differing: frozenset[str],
    keys: Sequence[str],
    result: Mapping[str, Any],
    manifest: Mapping[str, Any],
) -> tuple[ArmRun, NamedRun]:
    # Every folder of data=files has the name "files", so its path tells it apart.
    own = [
        Path(override.partition("=")[2].strip("'\"")).name
        for override in job.overrides
        if override in differing and override.startswith("data.path=")
    ]
    overrides = arm_overrides(job.overrides, differing) or str(manifest.get("method") or "all runs")
    files = RunFolder(folder)
    try:
        data = " ".join([manifest["data"]["name"], *own])
        # Scores, cost and shares of the run.
        scores = {key: checked_share(Metric(key, key), result["after"][key]) for key in keys}
        constant = result.get("majority") or {}
        majority = {
            key: checked_share(Metric(key, key), constant[key]) for key in keys if key in constant
        }
        recorded = result.get("share_of_data") or {}
        shares = {key: float(recorded[key]) for key in SHARES if recorded.get(key) is not None}
        curve = read_curve(files, keys[0], manifest["data"]["pool"])
        for point in curve:
            _check(point)
        run = ArmRun(
            overrides,
            data,
            int(result["seed"]),
            folder,
            scores,
            int(result["tokens"]["billed"]),
            shares,
            curve,
            majority,
        )
        return run, NamedRun(data, overrides, _small(configuration_of(files)))
    except _UNREADABLE as error:
        raise RunError(
            f"the files of {folder} are not as a run writes them ({why(error)}). Start the sweep "
            "again, or remove the job."
        ) from error


def _small(configuration: dict[str, Any]) -> dict[str, Any]:
    """Refuses a configuration that is small on disk only: YAML's aliases can multiply a text."""
    left: list[Any] = [configuration]
    for _ in range(_MOST_SETTINGS):
        if not left:
            return configuration
        node = left.pop()
        left += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    raise ValueError(f"config.yaml has more than {_MOST_SETTINGS:,} values")


def _check(point: Point) -> None:
    """Refuses a point that cannot be drawn."""
    numbers = (point.round, point.tokens, point.dev, point.share or 0.0)
    if not all(isinstance(one, int | float) and 0 <= one <= 1e15 for one in numbers):
        raise ValueError(f"metrics.jsonl has the impossible point {point}")
    checked_share(Metric("dev", "the score on dev"), point.dev)


def _of_jobs(jobs: Sequence[JobRecord], expected: int, differing: frozenset[str]) -> Iterator[str]:
    for job in jobs:
        if job.state == "failed":
            arm = arm_overrides(job.overrides, differing) or "no override"
            yield f"Job {job.number} failed ({arm}): {job.error}"
    if left := [job for job in jobs if job.state in ("running", "left out")]:
        yield f"{len(left)} of {len(jobs)} jobs were not done when this report was drawn."
    if never := max(0, expected - len(jobs)):
        yield f"{never} of {expected} jobs were never started; the same command does them."


def _of_names(candidates: Sequence[NamedRun], names: Sequence[str]) -> Iterator[str]:
    for arm, other, data, keys in namesakes(candidates, names):
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        differ = f"{', '.join(keys[:3])}{more}"
        yield f"{arm} on {data} has the overrides of {other} but another configuration: {differ}."


def _of_joined(candidates: Sequence[NamedRun]) -> Iterator[str]:
    alike: dict[tuple[str, ...], list[str]] = {}
    for arm, data, keys in joined(candidates):
        alike.setdefault(tuple(keys), []).append(f"{arm} on {data}")
    for settings, arms in alike.items():
        yield (
            "One arm by its overrides, with configurations that differ in "
            f"{', '.join(settings)}: {'; '.join(arms)}."
        )


def _of_runs(runs: Sequence[ArmRun]) -> Iterator[str]:
    # Runs by data set and arm.
    seeds = {run.seed for run in runs}
    grouped: dict[str, dict[str, list[ArmRun]]] = {run.data: {} for run in runs}
    for run in runs:
        grouped[run.data].setdefault(run.arm, []).append(run)

    # Missing data sets and seeds.
    for arm in dict.fromkeys(run.arm for run in runs):
        if without := [data for data, arms in grouped.items() if arm not in arms]:
            yield f"{arm} has no run on {', '.join(without)}."
    lacking: dict[tuple[int, ...], list[str]] = {}
    for data, arms in grouped.items():
        for arm, found in arms.items():
            if missing := sorted(seeds - {run.seed for run in found}):
                lacking.setdefault(tuple(missing), []).append(f"{arm} on {data}")
    for missing_seeds, which in lacking.items():
        seed = ", ".join(map(str, missing_seeds))
        yield (
            f"Without seed {seed}: {'; '.join(which)}. Comparisons use the seeds of both arms, "
            "means use all seeds."
        )

    # Repeated seeds and unequal budgets.
    for data, arms in grouped.items():
        for arm, found in arms.items():
            if len(found) > len({run.seed for run in found}):
                yield (
                    f"{arm} on {data} has several runs per seed; comparisons use the last of each."
                )
        # Ten percent apart is more than the overshoot of a last round.
        paid = {arm: mean for arm, found in arms.items() if (mean := mean_tokens(found))}
        if paid and max(paid.values()) > 1.1 * min(paid.values()):
            low, high = min(paid, key=lambda arm: paid[arm]), max(paid, key=lambda arm: paid[arm])
            yield (
                f"Budgets on {data} differ: {low} billed {paid[low]:,.0f} tokens per run, {high} "
                f"{paid[high]:,.0f}."
            )
