"""What is known of a sweep's jobs: one small file each, so that jobs of any launcher can write theirs at the same time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tutelage.errors import RunError
from tutelage.runs.folder import RunFolder, runs_with

State = Literal["running", "done", "failed", "left out"]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job of a sweep.

    Attributes:
        number: Hydra's, from 0.
        words: its overrides, those of the sweep itself left out.
        config_hash: of its configuration (:func:`tutelage.runs.manifest.config_hash`).
        folder: of its run, relative to the sweep's folder; that of an earlier time where ``found`` is not "".
        found: "" for a run of this sweep's own, "done" for one that an earlier time of the sweep had done already, "unfinished" for one that it
            had begun and this one goes on with.
        state: "left out" where a job before it failed and the sweep is ``fail_fast``.
        began, ended: seconds since the epoch; ``ended`` is 0 while it runs.
        code: the exit code of its process; 1 where a signal killed it.
        error: what went wrong, in one line.
        score: the metric of the sweep on test.
        tokens: billed.
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
        """What tells it from the others: its values of the keys that are ``swept``."""
        return "  ".join(
            override for override in self.overrides if override.partition("=")[0] in swept
        ) or " ".join(self.overrides)


class SweepFolder:
    """A sweep's folder: sweep.json, jobs/NNN.json for each job that has begun, and the runs' folders beside them.

    Args:
        path: multirun_sweeps/<name>/<time>.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def expect(self, jobs: int | None) -> None:
        """Note how many jobs there will be; None where the sweeper decides as it goes."""
        RunFolder(self.path).write_json("sweep.json", {"jobs": jobs})

    @property
    def expected(self) -> int | None:
        """How many jobs there were to be; None where that is not known."""
        found = RunFolder(self.path).read_json("sweep.json") or {}
        return int(found["jobs"]) if found.get("jobs") else None

    def write(self, record: JobRecord) -> None:
        """Replace what is known of a job."""
        RunFolder(self.path).write_json(f"jobs/{record.number:03d}.json", asdict(record))

    def jobs(self) -> tuple[JobRecord, ...]:
        """What is known of the jobs that have begun, by number.

        Raises:
            RunError: a file was altered.
        """
        found = []
        for path in sorted((self.path / "jobs").glob("*.json")):
            fields: dict[str, Any] = RunFolder(self.path).read_json(f"jobs/{path.name}") or {}
            try:
                found.append(JobRecord(**{**fields, "overrides": tuple(fields["overrides"])}))
            except (TypeError, KeyError) as error:
                raise RunError(
                    f"{path} is no job's record ({error}); it was altered. Remove it and start the sweep again."
                ) from error
        return tuple(sorted(found, key=lambda job: job.number))

    def run_of(self, record: JobRecord) -> Path:
        """The folder of a job's run."""
        return self.path / record.folder

    def earlier(self, config_hash: str) -> Path | None:
        """The run of this configuration that an earlier time of the sweep has made: a finished one, or else the newest that was begun."""
        begun = runs_with(config_hash, self.path.parent.glob("*/*"))
        return max(
            (((run / "result.json").is_file(), started, run.path) for started, run in begun),
            default=(None, None, None),
        )[2]
