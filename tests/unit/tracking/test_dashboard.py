"""The dashboard: its runs, the order of its panels, and its errors without an account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.ner_folders import build_ner_run
from tests.helpers.run_folders import build_run

from tutelage.cli import main
from tutelage.errors import RunError
from tutelage.tracking.dashboard import reviewed


def mirrored(folder: Path, project: str = "mine", task: str = "classification") -> Path:
    """Write a run mirrored to ``project``."""
    if task == "ner":
        build_ner_run(folder)
    else:
        build_run(folder, rounds=1)
    with (folder / "config.yaml").open("a") as config:
        wandb = f"wandb: {{project: {project}, entity: null}}"
        config.write(f"name: synthetic_test\nlogger: {{csv: {{}}, {wandb}}}\n")
    (folder / "wandb").mkdir()
    (folder / "wandb" / "mirror.json").write_text('{"id": "abc", "lines": 2}')
    return folder


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Write a sweep of two jobs, the first of them done by an earlier execution."""
    for time in ("monday", "tuesday"):
        (tmp_path / "seeds" / time / "jobs").mkdir(parents=True)
    mirrored(tmp_path / "seeds" / "monday" / "0")
    (tmp_path / "seeds" / "tuesday" / "0").symlink_to("../monday/0")
    mirrored(tmp_path / "seeds" / "tuesday" / "1")
    return tmp_path / "seeds" / "tuesday"


def test_a_sweep_s_dashboard_shows_the_groups_that_its_jobs_are_in(sweep: Path) -> None:
    shown = reviewed(str(sweep))
    assert (
        set(shown.groups)
        == set(reviewed(str(sweep.parent)).groups)
        == {"seeds/monday", "seeds/tuesday"}
    )
    assert (shown.metrics, shown.project, shown.entity) == (("accuracy", "macro_f1"), "mine", "")


def test_named_entities_are_shown_by_their_own_metrics(tmp_path: Path) -> None:
    assert reviewed(str(mirrored(tmp_path / "run", task="ner"))).metrics == (
        "f1_strict",
        "accuracy",
    )


def test_a_run_s_and_a_group_s(tmp_path: Path) -> None:
    assert reviewed(str(mirrored(tmp_path / "run"))).groups == ("synthetic_test",)
    assert reviewed("seeds/monday").groups == ("seeds/monday",)
    went_on = mirrored(tmp_path / "went-on")
    assert reviewed(str(went_on)).project == "mine"
    for logger in ("{}", "null", "{csv: {}}"):  # resumed without logger=wandb
        with (went_on / "config.yaml").open("a") as config:
            config.write(f"logger: {logger}\n")
        assert reviewed(str(went_on)).project == "tutelage"
    for where, said in (
        (str(tmp_path / "nowhere"), "There is no folder"),
        (str(build_run(tmp_path / "plain")), "logger=wandb"),
    ):
        with pytest.raises(RunError, match=said):
            reviewed(where)


# Raised inside wandb-workspaces 0.4.
@pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")
def test_the_layout_that_is_written_and_what_saving_says_without_an_account(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name, value in (
        ("HOME", str(sweep)),
        ("WANDB_BASE_URL", "http://127.0.0.1:9"),
        ("WANDB_API_KEY", ""),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["wandb-dashboard", str(sweep), "--save"])
    printed = capsys.readouterr()
    assert ended.value.code == RunError.exit_code
    assert printed.out.splitlines() == [str(sweep / "wandb-dashboard.json")]
    assert "wandb login" in printed.err
    blocks = json.loads((sweep / "wandb-dashboard.json").read_text())["blocks"]
    grids = [block["metadata"] for block in blocks if block["type"] == "panel-grid"]
    panels = [panel for grid in grids for panel in grid["panelBankSectionConfig"]["panels"]]
    titles = [panel["config"].get("chartTitle") or panel["viewType"] for panel in panels]
    assert titles[0] == "dev accuracy by billed tokens"
    assert {
        "dev by round",
        "dev by accepted samples",
        "test, before and after",
        "dev F1 by class",
        "rows kept and rejected",
    } <= set(titles)
    assert titles[-2:] == ["Weave", "Run Comparer"]
    assert '"val": "mistakes"' in json.dumps(panels[-2])
    assert [panels[0]["config"][key] for key in ("xAxis", "metrics")] == [
        "billed_tokens",
        ["dev/accuracy"],
    ]
    (only,) = {
        json.dumps(runs["filters"], sort_keys=True) for grid in grids for runs in grid["runSets"]
    }
    assert set(json.loads(only)["filters"][0]["value"]) == {"seeds/monday", "seeds/tuesday"}
