"""The process that mirrors a run's folder to wandb.

It reads the files of the run, and writes only below ``wandb/`` in the run's folder, so that nothing
here can fail, slow down or stop the run. Its standard input signals the end of the run: it closes
as soon as the run's process is gone for whatever reason, and the folder tells the outcome. Besides
the dashboard, this is the only module that imports wandb.

    python -m tutelage.tracking.wandb_child FOLDER SETTINGS
"""

from __future__ import annotations

import json
import secrets
import select
import sys
from pathlib import Path
from typing import Any

import wandb
import yaml

from tutelage.runs.folder import RunFolder
from tutelage.runs.read import Run, read_run
from tutelage.tracking.review import (
    AXES,
    COLUMNS,
    FAMILIES,
    curves,
    group_of,
    mistakes,
    pool_version,
    summary,
    tags,
)

_LOOK_SECONDS = 1.0
"""Period in seconds at which the folder is checked."""
_EXIT_CODES = {"done": 0, "interrupted": 130}
STATE = "wandb/mirror.json"
"""File in a run's folder with the id of its wandb run and the number of lines mirrored."""


class WandbRun:
    """A wandb run that follows one run's folder.

    Args:
        folder: The run's folder.
        settings: The settings of :class:`tutelage.tracking.wandb_process.WandbMirror`.

    Attributes:
        kept_offline: Why the run is mirrored offline although ``online`` is set; "" otherwise.
    """

    def __init__(self, folder: RunFolder, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._settings = settings
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        # A run that failed at the very start has none.
        manifest = folder.read_json("manifest.json") or {}
        self._metric = config["sweep"]["metric"]
        self._state = folder.read_json(STATE) or {"id": secrets.token_hex(4), "lines": 0}
        self.kept_offline = ""
        given = {
            "project": settings["project"],
            "entity": settings["entity"],
            "id": self._state["id"],
            "resume": "allow",
            "name": f"{config['name']}-{folder.path.resolve().name}",
            "group": group_of(folder.path, config["name"])[:128],
            "job_type": config["method"]["name"],
            "tags": tags(manifest) if manifest else [],
            "config": {**config, "manifest": manifest},
            "dir": str(folder.path),
        }
        # Without a reachable account, keep an offline mirror for `wandb sync`.
        try:
            self._run = wandb.init(
                **given, settings=_settings(online=settings["online"], wait=settings["wait"])
            )
        except wandb.Error as error:
            if not settings["online"]:
                raise
            self.kept_offline = " ".join(str(error).split())
            self._run = wandb.init(**given, settings=_settings(online=False, wait=settings["wait"]))
        folder.write_json(STATE, self._state)
        # Every curve gets its default axis; the axes themselves are not plotted.
        for axis in AXES:
            self._run.define_metric(axis, hidden=True)
        for family, axis in FAMILIES.items():
            self._run.define_metric(f"{family}/*", step_metric=axis)

    def catch_up(self) -> None:
        """Mirror the stages closed since the last call.

        Lines mirrored before a resume are not mirrored again.
        """
        lines = self._folder.read_lines("metrics.jsonl")
        if len(lines) <= self._state["lines"]:
            return
        # Only now, with something new, read the whole folder.
        run = read_run(self._folder.path)
        for step in range(self._state["lines"], len(lines)):
            self._log(run, lines[step], step)
            # Record each line at once, so that a resume never repeats it.
            self._state["lines"] = step + 1
            self._folder.write_json(STATE, self._state)

    def _log(self, run: Run, line: dict[str, Any], step: int) -> None:
        shown: dict[str, Any] = dict(curves(line))
        if found := mistakes(run, line["round"], self._settings["table_rows"]):
            shown["mistakes"] = wandb.Table(columns=list(COLUMNS), data=found)
        self._run.log(shown, step=step)
        pool = self._folder / "pool" / "rows.jsonl"
        version = pool_version(
            pool, line["accepted"] + line["rejected"], int(self._settings["pool_mb"] * 2**20)
        )
        artifact = wandb.Artifact(
            f"pool-{self._state['id']}",
            "dataset",
            metadata={**version, **{axis: shown[axis] for axis in AXES}},
        )
        # The number of rows identifies a version, because the file itself will have grown by the
        # time somebody looks at it.
        # A reference by URL: the pool is neither copied nor sent.
        artifact.add_reference(
            pool.resolve().as_uri(), name=f"rows-{version['rows']}.jsonl", checksum=False
        )
        self._run.log_artifact(artifact, aliases=["latest", f"round-{line['round']}"])

    def finish(self) -> None:
        """Write the summary, and end the wandb run with the run's outcome."""
        state = self._folder.read_json("status.json")["state"]
        # A killed run cannot record its own end.
        ended = {"state": "killed" if state == "running" else state}
        self._run.summary.update(
            summary(read_run(self._folder.path), self._metric) if state == "done" else ended
        )
        self._run.finish(exit_code=_EXIT_CODES.get(state, 1))


def _settings(*, online: bool, wait: float) -> wandb.Settings:
    """Settings that capture nothing implicitly.

    No console output, code, git state, host name, requirements or machine statistics are recorded.
    """
    return wandb.Settings(
        mode="online" if online else "offline",
        console="off",
        silent=True,
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        save_code=False,
        symlink=False,
        host="",
        init_timeout=wait,
        finish_timeout=wait,
        # Giving up must be visible; everything unsent is still in the folder.
        finish_timeout_raises=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=1.0,
    )


def follow(folder: RunFolder, settings: dict[str, Any]) -> str:
    """Mirror ``folder`` until standard input is closed.

    Args:
        folder: The run's folder.
        settings: The settings of :class:`tutelage.tracking.wandb_process.WandbMirror`.

    Returns:
        Why the mirror stayed offline although ``online`` is set; "" otherwise.
    """
    mirrored: WandbRun | None = None
    ended = False
    while not ended:
        ended = bool(select.select([sys.stdin], [], [], _LOOK_SECONDS)[0])
        # Before the run has started, the folder may contain lines of an earlier run.
        started = (folder.read_json("status.json") or {}).get("phase", "starting") != "starting"
        if mirrored is None and (started or ended):
            mirrored = WandbRun(folder, settings)
        if mirrored is not None and started:
            mirrored.catch_up()
    assert mirrored is not None
    mirrored.finish()
    return mirrored.kept_offline


def main() -> None:
    """Follow the folder given on the command line."""
    try:
        folder = RunFolder(Path(sys.argv[1]))
        # The mirror of a run killed a moment ago may still be finishing.
        with RunFolder(folder / "wandb").lock(wait=60.0):
            problem = follow(folder, json.loads(sys.argv[2]))
    except Exception as error:  # the run's process reports any error in one line
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if problem:
        print(problem, file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
