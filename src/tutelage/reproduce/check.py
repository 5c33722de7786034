"""``tutelage reproduce``: do the runs that are missing, and give each claim of a paper its verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tutelage.config.compose import compose_config
from tutelage.config.schema import RunConfig
from tutelage.errors import ConfigError, RunError, did_you_mean
from tutelage.reproduce.claims import Claim, Paper, Scale
from tutelage.reproduce.measures import measured
from tutelage.reproduce.page import write_verdicts
from tutelage.reproduce.reading import CLAIMS, read_papers
from tutelage.reproduce.runs import PlannedRun, commands, runs_of, sweep_name
from tutelage.reproduce.verdicts import LEFT_OUT, Verdict, judge, not_run
from tutelage.runs.manifest import config_hash, hardware
from tutelage.sweep.job import do_job
from tutelage.sweep.multirun import check_metric
from tutelage.sweep.record import JobRecord, SweepFolder
from tutelage.sweep.session import make_folder, session, tell, tell_end


@dataclass(frozen=True, slots=True)
class _Job:
    """A run with its configuration, and whether an earlier time has done it."""

    run: PlannedRun
    config: RunConfig
    done: bool


def reproduce(
    paper: str,
    scale: str,
    only: Sequence[str] = (),
    extra: Sequence[str] = (),
    *,
    dry_run: bool = False,
    claims: Path = CLAIMS,
) -> int:
    """Give the verdicts on a paper's claims, after the runs that they need and that are not there yet.

    Args:
        only: ids of the claims whose runs may be done; none: all of them. The others are told as not run.
        extra: overrides of every run.
        dry_run: print the runs' commands and an estimate, and do nothing.
        claims: the file that they are read from.

    Returns:
        the exit code: 0 whatever the verdicts are, and that of a run that failed.

    Raises:
        ConfigError: there is no such paper, scale or claim, or a run's configuration does not compose.
        RunError: the folder cannot be made.
    """
    papers = read_papers(claims)
    if paper not in papers:
        raise ConfigError(did_you_mean("paper", paper, papers))
    chosen = papers[paper]
    size, wanted = chosen.scale(scale), chosen.only(only)
    if own := [
        override
        for override in extra
        if override.lstrip("+~").startswith(("seed=", "sweep", "hydra"))
    ]:
        raise ConfigError(
            f"--set {own[0]}: the seeds and the sweep are those of the claims. Leave it out."
        )
    console = Console()
    runs = runs_of(chosen, size, wanted, extra)
    if dry_run:
        for line in commands(chosen, size, wanted, extra):
            tell(console, line)
        tell(console, _estimate(chosen, size, runs, None))
        return 0
    begun = Path(
        "multirun_sweeps", sweep_name(chosen, size), time.strftime("%Y-%m-%d_%H-%M-%S")
    ).resolve()
    without = _lacks(size)
    jobs = _composed(chosen, size, runs, SweepFolder(begun))
    tell(console, _estimate(chosen, size, runs, sum(job.done for job in jobs)))
    sweep = SweepFolder(make_folder(begun, named=False))
    # What was done elsewhere is judged here, too.
    records = _do([job for job in jobs if job.done or not without], sweep, console)
    verdicts = [
        _verdict(claim, chosen, size, wanted, extra, records, sweep, without)
        for claim in chosen.claims
    ]
    done = {run: sweep.run_of(record) for run, record in records.items() if record.state == "done"}
    write_verdicts(sweep.path, chosen, size, verdicts, extra, done, console)
    return max((record.code for record in records.values()), default=0)


def _do(jobs: Sequence[_Job], sweep: SweepFolder, console: Console) -> dict[PlannedRun, JobRecord]:
    """Do the runs as the jobs of a sweep: in processes of their own, by one teacher, nothing twice."""
    if not jobs:
        return {}
    titles = [f"{job.run.arm} on {job.run.data}, seed {job.run.seed}" for job in jobs]
    records = {}
    with session(
        jobs[0].config, sweep, len(jobs), lambda record: titles[record.number], "score", console
    ):
        for number, job in enumerate(jobs):
            records[job.run] = do_job(job.config, sweep, number, job.run.overrides)
    tell_end(sweep, console)
    return records


def _composed(
    paper: Paper, scale: Scale, runs: Sequence[PlannedRun], sweep: SweepFolder
) -> list[_Job]:
    """The runs with their configurations, those of one arm and data set composed once: their seeds are all that differs.

    Raises:
        ConfigError: one does not compose, or two arms come to the same.
    """
    found: dict[tuple[str, str], RunConfig] = {}
    arms: dict[str, str] = {}
    jobs = []
    for run in runs:
        if (run.arm, run.data) not in found:
            config = compose_config(
                [
                    *run.overrides,
                    f"sweep.name={sweep_name(paper, scale)}",
                    f"sweep.metric={scale.sets[run.data].metric}",
                ]
            )
            check_metric(config)
            if (other := arms.setdefault(config_hash(config.source), run.arm)) != run.arm:
                raise ConfigError(
                    f"On {run.data} the arms {other} and {run.arm} come to the same configuration: an override takes back what tells them "
                    f"apart. Leave it out of --set, or choose other claims with --only."
                )
            found[run.arm, run.data] = config
        config = found[run.arm, run.data].with_seed(run.seed)
        earlier = sweep.earlier(config_hash(config.source))
        jobs.append(_Job(run, config, earlier is not None and (earlier / "result.json").is_file()))
    return jobs


def _verdict(
    claim: Claim,
    paper: Paper,
    scale: Scale,
    wanted: Sequence[Claim],
    extra: Sequence[str],
    records: Mapping[PlannedRun, JobRecord],
    sweep: SweepFolder,
    without: str,
) -> Verdict:
    if claim not in wanted:
        return not_run(claim, LEFT_OUT)
    if why := claim.skipped.get(scale.name):
        return not_run(claim, why)
    runs = runs_of(paper, scale, (claim,), extra)
    if any(run not in records for run in runs):
        return not_run(claim, without)
    if failed := [run for run in runs if records[run].state != "done"]:
        first, record = failed[0], records[failed[0]]
        where = f"the first, {first.arm} on {first.data}, seed {first.seed}: {record.error or record.state}"
        return not_run(claim, f"{len(failed)} of its {len(runs)} runs failed; {where}")
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


def _lacks(scale: Scale) -> str:
    """What this machine lacks for a scale; "" where nothing."""
    return (
        f"needs a GPU ({scale.gpu}); this machine has none"
        if scale.gpu and hardware()["gpu"] is None
        else ""
    )


def _estimate(paper: Paper, scale: Scale, runs: Sequence[PlannedRun], done: int | None) -> str:
    """What is to come, in a line; ``done`` is None where nobody has looked."""
    arms, sets = (dict.fromkeys(getattr(run, key) for run in runs) for key in ("arm", "data"))
    left = len(runs) - (done or 0)
    parts = [
        f"{_count(len(runs), 'run')} of {_count(len(arms), 'arm')} on {', '.join(sets) or 'no data'}"
    ]
    parts += [] if done is None else [f"{done} of them done before"]
    parts += (
        []
        if scale.minutes is None
        else [f"about {left * scale.minutes:.0f} min on two quiet cores"]
    )
    return f"{paper.name} at {scale.name} scale: {', '.join(parts)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
