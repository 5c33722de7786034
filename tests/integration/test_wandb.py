"""Runs mirrored to wandb offline, read back from wandb's files; no secret is in them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import secrets as canaries
from tests.helpers.offline_wandb import offline_runs
from tests.helpers.tasks import TaskSetup
from tests.helpers.tiny import lines

from tutelage.config.compose import compose_config
from tutelage.interruption import Interrupted
from tutelage.progress import NoProgress
from tutelage.records import row_from_dict
from tutelage.run import run
from tutelage.timeline import Position


class StopsInRoundOne(NoProgress):
    def stage_closed(self, position: Position, dev: dict[str, Any], rows: tuple[int, int]) -> None:
        if position.round == 1:
            raise KeyboardInterrupt


def test_a_resumed_run_goes_on_with_its_wandb_run(
    kind: TaskSetup, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries.plant(monkeypatch)
    # Importing wandb in the run's own process fails.
    monkeypatch.setitem(sys.modules, "wandb", None)
    overrides, folder = (
        [*kind.base(), *kind.evokd, *canaries.CONFIGURED, "logger=wandb"],
        workplace / "run",
    )
    with pytest.raises(Interrupted):
        run(compose_config(overrides), folder, StopsInRoundOne(), "go on", resume=False)
    assert [line["round"] for line in lines(folder / "metrics.jsonl")] == [0, 1]
    result = run(compose_config(overrides), folder, NoProgress(), "go on", resume=True)
    monkeypatch.undo()

    metrics, (first, second) = lines(folder / "metrics.jsonl"), offline_runs(folder)
    assert first.id == second.id
    assert (first.exit_code, second.exit_code) == (130, 0)
    # Round 1 closed before the checkpoint and ran again, but is mirrored once.
    history = [*first.history, *second.history]
    assert [line["_step"] for line in history] == list(range(len(metrics)))
    for line, shown in zip(metrics, history, strict=True):
        assert shown["dev/accuracy"] == line["dev"]["accuracy"]
        assert (shown["round"], shown["samples"], shown["billed_tokens"]) == (
            line["round"],
            line["accepted"],
            line["billed_tokens"],
        )
        assert {name for name in shown if name.startswith("dev_f1/")} == {
            f"dev_f1/{label}" for label in line["dev"]["per_class"]
        }
        assert ("test/accuracy" in shown) is (line["test"] is not None)

    assert (second.group, second.job_type) == (second.config["name"], "evokd")
    assert {f"task:{kind.task}", "method:evokd", "data:files"} <= set(second.tags)
    assert second.config["manifest"]["labels"]
    assert second.config["teacher"]["hub_token"] == second.config["teacher"]["api_key"] == "***"
    quoted = result["metrics"][0]["key"]
    assert (second.summary["metric"], second.summary["score"]) == (quoted, result["after"][quoted])
    assert second.summary["tokens/billed"] == result["tokens"]["billed"]
    pool = [row_from_dict(record) for record in lines(folder / "pool" / "rows.jsonl")]
    versions = [one for each in (first, second) for one in each.artifacts if one.type == "dataset"]
    assert versions[-1].manifest.contents[0].ref == (folder / "pool" / "rows.jsonl").as_uri()
    assert versions[-1].manifest.contents[0].path == f"rows-{len(pool)}.jsonl"
    assert canaries.leaks(folder) == []


def test_a_sweep_s_job_is_in_the_sweep_s_group(
    tutelage: Any, overrides: list[str], workplace: Path, monkeypatch: Any, no_report: None
) -> None:
    canaries.plant(monkeypatch)
    sweep = workplace / "multirun_sweeps" / "mine" / "today"
    (sweep / "jobs").mkdir(parents=True)
    overrides = [
        *overrides,
        *canaries.CONFIGURED,
        "logger=wandb",
        "method.rounds=1",
        f"hydra.run.dir={sweep / '0'}",
    ]
    ended = tutelage("train", *overrides)
    assert ended.code == 0, ended.err
    (mirrored,) = offline_runs(sweep / "0")
    assert (mirrored.group, mirrored.job_type, mirrored.exit_code) == ("mine/today", "evokd", 0)
    assert canaries.leaks(workplace, ended.out, ended.err) == []


@pytest.mark.parametrize(
    "word",
    [
        "+teacher.api_key=canary-5f3a",
        "+teacher.hub={token: canary-5f3a}",
        "+teacher.api_key=${oc.env:NAME,canary-5f3a}",
        "teacher.url=http://me:canary-5f3a@localhost:1/v1",
    ],
)
@pytest.mark.parametrize("more", [[], ["--config-dir=elsewhere"]])
def test_a_secret_on_the_command_line_is_refused_without_being_told(
    tutelage: Any, word: str, more: list[str]
) -> None:
    ended = tutelage("train", word, *more)
    assert ended.code == 2
    assert "=${oc.env:NAME}" in ended.err
    assert "canary" not in ended.out + ended.err
