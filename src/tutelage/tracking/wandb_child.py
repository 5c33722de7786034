"""The process that mirrors a run's folder to wandb: the only file that imports wandb.

It reads what the run has written and writes nothing but below ``wandb/`` in the run's folder, so nothing here can fail, slow or stop the
run. Its standard input is the run's end: when the run's process is gone, however it went, the input is closed, and the folder says how.

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
_EXIT_CODES = {"done": 0, "interrupted": 130}
STATE = "wandb/mirror.json"
"""In a run's folder: the id of its wandb run, and how many lines of metrics.jsonl were mirrored."""


class WandbRun:
    """One run of wandb that follows one run's folder.

    Args:
        settings: those of :class:`tutelage.tracking.wandb_process.WandbMirror`.
    """

    def __init__(self, folder: RunFolder, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._settings = settings
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        # A run that failed at its very start has none.
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
        for axis in AXES:
            self._run.define_metric(axis, hidden=True)
        for family, axis in FAMILIES.items():
            self._run.define_metric(f"{family}/*", step_metric=axis)

    def catch_up(self) -> None:
        """Mirror the stages that have closed since. A line that was mirrored before a resume is not mirrored again."""
        lines = self._folder.read_lines("metrics.jsonl")
        if len(lines) <= self._state["lines"]:
            return
        run = read_run(self._folder.path)
        for step in range(self._state["lines"], len(lines)):
            self._log(run, lines[step], step)
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
        # By the number of its rows a version differs from the one before; the file itself will have grown when somebody looks at it.
        artifact.add_reference(
            pool.resolve().as_uri(), name=f"rows-{version['rows']}.jsonl", checksum=False
        )
        self._run.log_artifact(artifact, aliases=["latest", f"round-{line['round']}"])

    def finish(self) -> None:
        """Write the summary and end the wandb run as the run ended."""
        state = self._folder.read_json("status.json")["state"]
        # Nobody writes down that a run was killed.
        ended = {"state": "killed" if state == "running" else state}
        self._run.summary.update(
            summary(read_run(self._folder.path), self._metric) if state == "done" else ended
        )
        self._run.finish(exit_code=_EXIT_CODES.get(state, 1))


def _settings(*, online: bool, wait: float) -> wandb.Settings:
    """Nothing is captured but what is given: no console, code, git, host, requirements or machine statistics."""
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
        # Given up is said: what was not sent is in the folder.
        finish_timeout_raises=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=1.0,
    )


def follow(folder: RunFolder, settings: dict[str, Any]) -> str:
    """Mirror ``folder`` until standard input is closed; return why it was kept offline, "" if it was not meant to be online or is."""
    mirrored: WandbRun | None = None
    ended = False
    while not ended:
        ended = bool(select.select([sys.stdin], [], [], _LOOK_SECONDS)[0])
        # Until it has started, the folder may still hold the lines of an earlier run.
        started = (folder.read_json("status.json") or {}).get("phase", "starting") != "starting"
        if mirrored is None and (started or ended):
            mirrored = WandbRun(folder, settings)
        if mirrored is not None and started:
            mirrored.catch_up()
    assert mirrored is not None
    mirrored.finish()
    return mirrored.kept_offline


def main() -> None:
    """Follow the folder of the command line."""
    try:
        folder = RunFolder(Path(sys.argv[1]))
        # The mirror of a run that was killed a moment ago may still be finishing.
        with RunFolder(folder / "wandb").lock(wait=60.0):
            problem = follow(folder, json.loads(sys.argv[2]))
    except Exception as error:  # whatever it is, the run's process tells it in one line
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if problem:
        print(problem, file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
