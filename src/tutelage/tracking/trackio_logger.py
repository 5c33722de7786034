"""Lightning's logger for trackio, a local dashboard of Hugging Face (``logger=trackio``)."""

from __future__ import annotations

import contextlib
import io
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only


class TrackioLogger(Logger):
    """Writes a run's metrics and configuration to a project of trackio, on this machine.

    ``trackio show --project tutelage`` draws them, runs side by side. A resumed run begins another
    run of the same name, with the lines so far.

    Args:
        project: The project of trackio.
        save_dir: The run's folder, whose name the run has; passed by the program.
        space_id: A Space of the Hugging Face hub that receives the metrics too; None: none.

    Raises:
        ModuleNotFoundError: The package trackio is not installed.
    """

    def __init__(self, project: str, save_dir: str, space_id: str | None = None) -> None:
        super().__init__()
        # Refuses here, before anything is paid for.
        import trackio

        self._trackio: Any = trackio
        self._project = project
        self._folder = Path(save_dir)
        self._space = space_id
        self._run: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """The run's folder."""
        return self._folder.name

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Does nothing: the configuration is that of the run's folder."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds a line.

        Args:
            metrics: Values by name.
            step: Number of optimizer steps so far.
        """
        with _unseen():
            if self._run is None:
                self._run = self._trackio.init(
                    project=self._project,
                    name=self.version,
                    config=self._settings(),
                    space_id=self._space,
                    resume="never",
                    embed=False,
                    auto_log_gpu=False,
                    auto_log_cpu=False,
                )
            self._run.log(dict(metrics), step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Waits until every line is written.

        Args:
            status: How the run ended; trackio has no place for it.
        """
        if self._run is not None:
            with _unseen():
                self._trackio.finish()
            self._run = None

    def _settings(self) -> dict[str, Any]:
        """Settings of the run by dotted name, without secrets, as the folder has them."""
        path = self._folder / "config.yaml"
        if not path.is_file():
            return {}
        return _flat(yaml.safe_load(path.read_text(encoding="utf-8")))


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by dotted name; keys with a leading underscore are reserved by trackio."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{above}{str(key).lstrip('_')}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    """What trackio prints would garble the run's progress display."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
