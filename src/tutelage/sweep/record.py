"""Records of a sweep's jobs: one small file each, because jobs write at the same time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from tutelage.errors import RunError
from tutelage.runs.folder import RunFolder, runs_with
from tutelage.runs.shapes import why

State = Literal["running", "done", "failed", "left out"]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job of a sweep.

    Attributes:
        number: Hydra's number, from 0.
        overrides: Its overrides, without those of the sweep itself.
        config_hash: Hash of its configuration (:func:`tutelage.runs.manifest.config_hash`).
        folder: Folder of its run, relative to the sweep's; inside an earlier sweep if ``found``.
        state: "left out" if an earlier job failed and the sweep is ``fail_fast``.
        found: "" for a new run, "done" for one finished by an earlier sweep, "unfinished" for one
            started by an earlier sweep and continued by this one.
        began, ended: Seconds since the epoch; ``ended`` is 0 during the run.
        code: Exit code of its process; 1 if a signal killed it.
        error: The error in one line.
        score: The metric of the sweep on test.
        tokens: Billed tokens.
    """

    number: int
    overrides: tuple[str, ...]
    config_hash: str
    folder: str
    state: State
    found: str = ""
    began: float = 0.0
    ended: float = 0.0
    code: int = 0
    error: str = ""
    score: float | None = None
    tokens: int = 0

    def title(self, swept: frozenset[str]) -> str:
        """Its overrides of the ``swept`` keys, which tell it apart from the other jobs."""
        return "  ".join(
            override for override in self.overrides if override.partition("=")[0] in swept
        ) or " ".join(self.overrides)


class SweepFolder:
    """The folder of a sweep: sweep.json, jobs/NNN.json per started job, and the folders of runs.

    Args:
        path: multirun_sweeps/<name>/<time>.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def expect(self, jobs: int | None) -> None:
        """Writes down the number of jobs; None if the sweeper decides as it goes."""
        RunFolder(self.path).write_json("sweep.json", {"jobs": jobs})

    @property
    def expected(self) -> int | None:
        """The planned number of jobs; None if unknown."""
        found = RunFolder(self.path).read_json("sweep.json")
        jobs = found.get("jobs") if isinstance(found, dict) else None
        return jobs if isinstance(jobs, int) and 0 < jobs < 10**9 else None

    def write(self, record: JobRecord) -> None:
        """Writes or replaces the record of a job."""
        RunFolder(self.path).write_json(f"jobs/{record.number:03d}.json", asdict(record))

    def jobs(self) -> tuple[JobRecord, ...]:
        """Reads the records of all started jobs, by number.

        Raises:
            RunError: A file is damaged.
        """
        found = []
        for path in sorted((self.path / "jobs").glob("*.json")):
            fields: Any = RunFolder(self.path).read_json(f"jobs/{path.name}") or {}
            try:
                record = JobRecord(**{**fields, "overrides": tuple(fields["overrides"])})
                # Another type would fail later, in the middle of a report.
                found.append(TypeAdapter(JobRecord).validate_python(asdict(record)))
            except (TypeError, LookupError, ValueError) as error:
                raise RunError(
                    f"{path} is no job's record ({why(error)}); it is damaged. Remove it and start "
                    "the sweep again."
                ) from error
        return tuple(sorted(found, key=lambda job: job.number))

    def run_of(self, record: JobRecord) -> Path:
        """The path of a job's run."""
        return self.path / record.folder

    def earlier(self, config_hash: str) -> Path | None:
        """The run of a configuration in this sweep or an earlier one of the same name.

        Returns:
            A finished run, else the newest one; None without any.
        """
        started = runs_with(config_hash, self.path.parent.glob("*/*"))
        return max(
            (((run / "result.json").is_file(), time, run.path) for time, run in started),
            default=(None, None, None),
        )[2]
