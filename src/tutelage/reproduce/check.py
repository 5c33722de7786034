"""``tutelage reproduce``: does the missing runs of a paper and gives a verdict on each claim."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tutelage.config.apart import check_apart
from tutelage.config.compose import compose_config
from tutelage.config.schema import RunConfig
from tutelage.errors import ConfigError, RunError, did_you_mean
from tutelage.reproduce.claims import Claim, Paper, Scale
from tutelage.reproduce.measures import measured
from tutelage.reproduce.page import write_verdicts
from tutelage.reproduce.reading import CLAIMS, FOLDER, read_papers
from tutelage.reproduce.runs import PlannedRun, commands, runs_of, sweep_name
from tutelage.reproduce.verdicts import LEFT_OUT, Verdict, judge, not_run
from tutelage.runs.manifest import config_hash, hardware
from tutelage.sweep.job import do_job
from tutelage.sweep.multirun import check_metric
from tutelage.sweep.record import JobRecord, SweepFolder
from tutelage.sweep.session import make_folder, print_line, print_summary, session


@dataclass(frozen=True, slots=True)
class _Job:
    """A run with its configuration; ``done`` if an earlier sweep has finished it."""

    run: PlannedRun
    config: RunConfig
    done: bool


def reproduce(
    paper: str,
    scale: str,
    only: Sequence[str] = (),
    extra: Sequence[str] = (),
    *,
    table: str | None = None,
    folder: str | None = None,
    dry_run: bool = False,
    claims: Path = CLAIMS,
) -> int:
    """Does the missing runs of a paper's claims and writes the verdicts.

    Args:
        paper: Name of a paper in ``claims``.
        scale: Name of one of its scales.
        only: Ids of the claims to check; none checks all. All others are reported as not run.
        extra: Overrides of every run.
        table: Checks only the claims of this table, main or ablations; None for both.
        folder: Folder of the data sets, for scales that read one; None for "data".
        dry_run: Prints the commands of the runs and an estimate, and runs nothing.
        claims: The file of claims.

    Returns:
        The exit code: 0 whatever the verdicts are, or that of a failed run.

    Raises:
        ConfigError: An unknown paper, scale, table or claim, a run whose configuration does not
            compose, or a folder for a scale that reads none.
        RunError: The folder cannot be made.
    """
    papers = read_papers(claims, folder or FOLDER)
    if paper not in papers:
        raise ConfigError(did_you_mean("paper", paper, papers))
    chosen = papers[paper]
    size, wanted = chosen.scale(scale), chosen.only(only, table)
    if folder is not None and not size.folder:
        raise ConfigError(
            f"--data {folder}: --scale {scale} reads no folder of data sets. Leave --data out."
        )
    _refuse_own(extra)
    console = Console()
    runs = runs_of(chosen, size, wanted, extra)
    if dry_run:
        for line in commands(chosen, size, wanted, extra):
            print_line(console, line)
        print_line(console, _estimate(chosen, size, runs, None))
        return 0

    # Compose every run before the first one starts.
    started = time.strftime("%Y-%m-%d_%H-%M-%S")
    wanted_folder = Path("multirun_sweeps", sweep_name(chosen, size), started).resolve()
    lacking = _lacking(size)
    jobs = _composed(chosen, size, runs, SweepFolder(wanted_folder))
    print_line(console, _estimate(chosen, size, runs, sum(job.done for job in jobs)))

    # Runs that another machine has finished are judged here as well.
    sweep = SweepFolder(make_folder(wanted_folder, named=False))
    records = _do([job for job in jobs if job.done or not lacking[job.run.data]], sweep, console)

    verdicts = [
        _verdict(claim, chosen, size, wanted, extra, records, sweep, lacking)
        for claim in chosen.claims
    ]
    done = {run: sweep.run_of(record) for run, record in records.items() if record.state == "done"}
    write_verdicts(sweep.path, chosen, size, verdicts, extra, done, console)
    return max((record.code for record in records.values()), default=0)


def _refuse_own(extra: Sequence[str]) -> None:
    """Refuses overrides of keys set by the claims themselves.

    Raises:
        ConfigError: A seed, an experiment, or a setting of the sweep or of Hydra.
    """
    own = ("seed=", "experiment=", "sweep", "hydra")
    for override in extra:
        if override.lstrip("+~").startswith(own):
            raise ConfigError(
                f"--set {override}: the claims set the seeds, the experiments and the sweep "
                "themselves. Leave it out."
            )


def _do(jobs: Sequence[_Job], sweep: SweepFolder, console: Console) -> dict[PlannedRun, JobRecord]:
    """Does the runs as jobs of a sweep: each in its own process, with one teacher for all."""
    if not jobs:
        return {}
    titles = [f"{job.run.arm} on {job.run.data}, seed {job.run.seed}" for job in jobs]
    records = {}
    with session(
        jobs[0].config, sweep, len(jobs), lambda record: titles[record.number], "score", console
    ):
        for number, job in enumerate(jobs):
            records[job.run] = do_job(job.config, sweep, number, job.run.overrides)
    print_summary(sweep, console)
    return records


def _composed(
    paper: Paper, scale: Scale, runs: Sequence[PlannedRun], sweep: SweepFolder
) -> list[_Job]:
    """The runs with their configurations, composed once per arm and data set.

    Raises:
        ConfigError: A configuration does not compose, or two arms have the same one.
    """
    composed: dict[tuple[str, str], RunConfig] = {}
    arm_of: dict[str, str] = {}
    jobs = []
    for run in runs:
        # Seeds differ in one value, so one composition per arm and data set is enough.
        if (run.arm, run.data) not in composed:
            of_sweep = (
                f"sweep.name={sweep_name(paper, scale)}",
                f"sweep.metric={scale.sets[run.data].metric}",
            )
            config = compose_config([*run.overrides, *of_sweep], import_targets=False)
            check_metric(config)
            if (other := arm_of.setdefault(config_hash(config.source), run.arm)) != run.arm:
                raise ConfigError(
                    f"On {run.data} the arms {other} and {run.arm} have the same configuration: "
                    "an override undoes the difference between them. Remove it from --set, or "
                    "choose other claims with --only."
                )
            composed[run.arm, run.data] = config
        # An earlier sweep of this name may have finished it.
        config = composed[run.arm, run.data].with_seed(run.seed)
        earlier = sweep.earlier(config_hash(config.source))
        jobs.append(_Job(run, config, earlier is not None and (earlier / "result.json").is_file()))
    first_of_each = {(run.arm, run.data): run.overrides for run in reversed(runs)}
    check_apart([*first_of_each.values()])
    return jobs


def _verdict(
    claim: Claim,
    paper: Paper,
    scale: Scale,
    wanted: Sequence[Claim],
    extra: Sequence[str],
    records: Mapping[PlannedRun, JobRecord],
    sweep: SweepFolder,
    lacking: Mapping[str, str],
) -> Verdict:
    # Reasons for no verdict, in the order in which they would be noticed.
    if claim not in wanted:
        return not_run(claim, LEFT_OUT)
    if why := claim.skipped.get(scale.name):
        return not_run(claim, why)
    runs = runs_of(paper, scale, (claim,), extra)
    if missing := [run for run in runs if run not in records]:
        return not_run(claim, lacking[missing[0].data])
    if failed := [run for run in runs if records[run].state != "done"]:
        first, record = failed[0], records[failed[0]]
        error = record.error or record.state
        return not_run(
            claim,
            f"{len(failed)} of its {len(runs)} runs failed; the first, {first.arm} on "
            f"{first.data}, seed {first.seed}: {error}",
        )

    # Every run is there: read the measures of both sides.
    try:
        values = {
            side: {
                (run.data, run.seed): measured(
                    sweep.run_of(records[run]), side.measure, scale.sets[run.data].metric
                )
                for run in runs
                if run.arm == side.arm
            }
            for side in (*claim.better, *claim.worse)
        }
    except RunError as error:
        return not_run(claim, str(error))
    return judge(claim, values)


def _lacking(scale: Scale) -> dict[str, str]:
    """For each data set of a scale, the reason for running nothing here; "" if all is there."""
    if scale.gpu and hardware()["gpu"] is None:
        return dict.fromkeys(scale.sets, f"needs a GPU ({scale.gpu}); this machine has none")
    return {
        name: f"no folder {data.path}; put the splits there, or give the folder above with --data"
        if scale.folder and not Path(data.path).is_dir()
        else ""
        for name, data in scale.sets.items()
    }


def _estimate(paper: Paper, scale: Scale, runs: Sequence[PlannedRun], done: int | None) -> str:
    """One line on the work ahead; ``done`` is None if finished runs were not counted."""
    arms, sets = (dict.fromkeys(getattr(run, key) for run in runs) for key in ("arm", "data"))
    counts = f"{_count(len(runs), 'run')} of {_count(len(arms), 'arm')}"
    parts = [f"{counts} on {', '.join(sets) or 'no data'}"]
    if done is not None:
        parts.append(f"{done} of them done before")
    if scale.minutes is not None:
        minutes = (len(runs) - (done or 0)) * scale.minutes
        parts.append(f"about {minutes:.0f} min on two quiet cores")
    return f"{paper.name} at {scale.name} scale: {', '.join(parts)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
