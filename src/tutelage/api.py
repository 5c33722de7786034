"""The Python API: train a run, read its result, and predict with its student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tutelage.config.compose import compose_config
from tutelage.config.overrides import as_text, quoted, readable
from tutelage.config.schema import RunConfig
from tutelage.config.secrets import refuse_secrets
from tutelage.errors import ConfigError
from tutelage.student.inference import Student
from tutelage.student.inference import load as load_student

__all__ = ["Result", "Student", "compose", "load_student", "train"]


@dataclass(frozen=True)
class Result:
    """What a finished run leaves behind.

    Attributes:
        folder: the run's folder.
        values: the whole of result.json.
    """

    folder: Path
    values: dict[str, Any]

    @property
    def metrics(self) -> dict[str, float]:
        """Scores on test of the student that the run ended with, by metric."""
        return dict(self.values["after"])

    @property
    def report(self) -> Path:
        """The run's report.html; drawn when it is first asked for."""
        page = self.folder / "report.html"
        if not page.is_file():
            from tutelage.report.html import write_report

            return write_report(self.folder)
        return page

    @cached_property
    def student(self) -> Student:
        """The run's student, loaded when it is first asked for."""
        return load_student(self.folder)

    def __repr__(self) -> str:
        """Shows the scores and the folder."""
        scores = ", ".join(f"{name}={value:.3f}" for name, value in self.metrics.items())
        return f"Result({scores}, folder={str(self.folder)!r})"


def compose(*overrides: str, **settings: Any) -> RunConfig:
    """Composes and checks the configuration of a run, without running it.

    Args:
        overrides: as on the command line, "group=option" or "key.name=value".
        settings: the same as keyword arguments, for names without a dot: ``seed=1``.

    Raises:
        ConfigError: an unknown option or key, or a value of the wrong type.
    """
    return compose_config(_overrides(overrides, settings))


def train(
    *overrides: str, folder: str | Path | None = None, progress: bool = False, **settings: Any
) -> Result:
    """Trains one run, as ``tutelage train`` does, in this process.

    Args:
        overrides: as on the command line, "group=option" or "key.name=value".
        folder: the run's folder; outputs/<name>/<time> by default.
        progress: show the run's progress and result on the terminal.
        settings: overrides as keyword arguments, for names without a dot: ``seed=1``.

    Raises:
        TutelageError: what went wrong; everything answered and trained before is on disk, and
            ``train(..., resume=True)`` continues.
    """
    import json

    from tutelage.launch import folder_to_begin, folder_to_resume, resume_command
    from tutelage.launch import train as train_with_display
    from tutelage.progress import NoProgress
    from tutelage.run import run

    typed = _overrides(overrides, settings)
    refuse_secrets(typed)
    given = readable(typed)
    config = compose_config(given)
    resumed = folder_to_resume(config)
    if folder is not None and resumed is not None:
        raise ConfigError("give folder= or resume=, not both: resume names the folder itself.")
    if folder is not None:
        path = Path(folder).expanduser()
    else:
        path = resumed or folder_to_begin(config, given)
    if progress:
        train_with_display(config, path, given)
        return Result(path, json.loads((path / "result.json").read_text(encoding="utf-8")))
    command = resume_command(given, path)
    return Result(path, run(config, path, NoProgress(), command, resume=resumed is not None))


def _overrides(overrides: Sequence[str], settings: dict[str, Any]) -> list[str]:
    for override in overrides:
        if not isinstance(override, str) or "=" not in override:
            raise ConfigError(f"{override!r} is no override; give text such as 'data=snips'.")
    return [*overrides, *(f"{name}={_value(value)}" for name, value in settings.items())]


def _value(value: Any) -> str:
    """A Python value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return quoted(str(value))
    return as_text(value) if isinstance(value, str) else str(value)
