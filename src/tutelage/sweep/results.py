"""A sweep as its report sees it: arms (configurations without their seed) over data sets, with what each run measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tutelage.errors import RunError
from tutelage.sweep.record import JobRecord, SweepFolder
from tutelage.tracking.run_folder import RunFolder

Block = tuple[str, int]
"""A data set and a seed: what two arms are compared within."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where a run stood after a round: billed tokens, accepted rows as a share of the pool, and the metric on dev, in [0, 1]."""

    round: int
    tokens: int
    share: float
    dev: float


@dataclass(frozen=True, slots=True)
class ArmRun:
    """A finished run.

    Attributes:
        arm: its overrides that are neither seed nor data set, as far as they differ in the sweep.
        scores: the quoted metrics on test, in [0, 1].
        tokens: billed.
        curve: on dev, from round 0 to the end.
    """

    arm: str
    data: str
    seed: int
    folder: Path
    scores: dict[str, float]
    tokens: int
    curve: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class SweepResults:
    """Everything that a sweep's report says.

    Attributes:
        metrics: key and title of the quoted metrics, the sweep's own first.
        arms: in the order of their first job.
        data: the data sets.
        notes: what a reader must know: failed jobs, missing seeds, unequal budgets.
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
        """The key of the metric that arms are compared by."""
        return self.metrics[0][0]

    def of(self, arm: str, data: str | None = None) -> tuple[ArmRun, ...]:
        """The runs of an arm, on one data set or on all."""
        return tuple(run for run in self.runs if run.arm == arm and data in (None, run.data))

    def blocks(self, arm: str) -> dict[Block, float]:
        """The metric of an arm by data set and seed."""
        return {(run.data, run.seed): run.scores[self.metric] for run in self.of(arm)}


def read_sweep(folder: Path, metric: str | None = None) -> SweepResults:
    """Read ``folder``: multirun_sweeps/<name>/<time>, or multirun_sweeps/<name> for its newest time.

    Raises:
        RunError: it is no sweep's folder, or none of its jobs is done.
    """
    times = [path.parent for path in folder.glob("*/jobs")]
    sweep = SweepFolder(folder if (folder / "jobs").is_dir() else max(times, default=folder))
    jobs = sweep.jobs()
    if not jobs:
        raise RunError(f"{folder} is no sweep's folder (it has no jobs/). Give multirun_sweeps/<name> or one of its times.")
    done = [job for job in jobs if job.state == "done"]
    if not done:
        raise RunError(
            f"None of the {len(jobs)} jobs of {sweep.path} is done, so there is nothing to report. The first error: {jobs[0].error}"
        )
    words = _differing([job.words for job in jobs])
    if metric is None and (composed := sweep.path / "multirun.yaml").is_file():
        metric = OmegaConf.select(OmegaConf.load(composed), "sweep.metric")
    runs = tuple(_run(sweep.run_of(job), job, words, metric) for job in done)
    found: dict[str, Any] = RunFolder(sweep.run_of(done[0])).read_json("result.json")
    titles = {one["key"]: one["title"] for one in found["metrics"]}
    first = metric or next(iter(titles))
    if first not in titles:
        raise RunError(f"The runs of {sweep.path} quote {', '.join(titles)} and not {first}.")
    metrics = ((first, titles[first]), *((key, title) for key, title in titles.items() if key != first))
    arms, data = tuple(dict.fromkeys(run.arm for run in runs)), tuple(dict.fromkeys(run.data for run in runs))
    return SweepResults(sweep.path, jobs, runs, metrics, arms, data, tuple(_notes(jobs, sweep.expected or len(jobs), runs, words)))


def _run(folder: Path, job: JobRecord, differing: frozenset[str], metric: str | None) -> ArmRun:
    if not (folder / "result.json").is_file():
        raise RunError(f"{folder} has no result.json: the run that job {job.number} found there is gone. Start the sweep again.")
    files = RunFolder(folder)
    result, manifest = files.read_json("result.json"), files.read_json("manifest.json")
    if metric and metric not in result["after"]:
        raise RunError(f"The runs of {folder.parent} quote {', '.join(result['after'])} and not {metric}.")
    # Folders of own data are all called "files".
    own = [Path(word.partition("=")[2].strip("'")).name for word in job.words if word in differing and word.startswith("data.path=")]
    data = " ".join([manifest["data"]["name"], *own])
    arm = _arm(job.words, differing) or str(manifest.get("method") or "all runs")
    first = metric or result["metrics"][0]["key"]
    pool = max(1, manifest["data"]["pool"])
    # A round is measured after its stages; the last line of a number is the one that counts.
    lines = {line["round"]: line for line in files.read_lines("metrics.jsonl") if line.get("dev")}
    curve = [
        Point(line["round"], line["billed_tokens"], line["accepted"] / pool, float(line["dev"][first]))
        for line in lines.values()
        if first in line["dev"]
    ]
    return ArmRun(arm, data, int(result["seed"]), folder, dict(result["after"]), result["tokens"]["billed"], tuple(curve))


def _differing(jobs: Sequence[Sequence[str]]) -> frozenset[str]:
    """The overrides that not every job has."""
    every = set(jobs[0]).intersection(*jobs)
    return frozenset(word for words in jobs for word in words if word not in every)


def _arm(words: Sequence[str], differing: frozenset[str]) -> str:
    """What tells an arm from the others; "" for the one that every choice leaves as it is."""
    unsaid = ("seed=", "data=", "data.path=", "data.name=")
    kept = [word for word in words if word in differing and word != "ablation=none" and not word.startswith(unsaid)]
    # The group's name says nothing where its option does.
    return " ".join(word.removeprefix("ablation=").removeprefix("method=") for word in kept)


def _notes(jobs: Sequence[JobRecord], expected: int, runs: Sequence[ArmRun], differing: frozenset[str]) -> list[str]:
    notes = [f"Job {job.number} failed ({_arm(job.words, differing) or 'as it is'}): {job.error}" for job in jobs if job.state == "failed"]
    if left := [job for job in jobs if job.state in ("running", "left out")]:
        notes.append(f"{len(left)} of {len(jobs)} jobs were not done when this was drawn.")
    if never := max(0, expected - len(jobs)):
        notes.append(f"{never} of {expected} jobs were never begun; the same command does them.")
    arms = dict.fromkeys(run.arm for run in runs)
    seeds = {run.seed for run in runs}
    for data in dict.fromkeys(run.data for run in runs):
        for arm in arms:
            if missing := sorted(seeds - {run.seed for run in runs if (run.arm, run.data) == (arm, data)}):
                notes.append(
                    f"{arm} on {data} lacks seed {', '.join(map(str, missing))}: pairs are of the seeds that both have, means of all."
                )
            seen = [run.seed for run in runs if (run.arm, run.data) == (arm, data)]
            if len(seen) > len(set(seen)):
                notes.append(f"{arm} on {data} has several runs of one seed; the last of each counts in comparisons.")
        tokens = {arm: [run.tokens for run in runs if (run.arm, run.data) == (arm, data)] for arm in arms}
        means = {arm: sum(found) / len(found) for arm, found in tokens.items() if found and sum(found)}
        if means and max(means.values()) > 1.1 * min(means.values()):
            low, high = min(means, key=lambda arm: means[arm]), max(means, key=lambda arm: means[arm])
            notes.append(f"Budgets on {data} differ: {low} billed {means[low]:,.0f} tokens a run, {high} {means[high]:,.0f}.")
    return notes
