"""What ``tutelage reproduce`` says without a run; with runs: tests/integration/test_reproduce.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import Command
from tests.unit.reproduce.papers import claims_file

from tutelage.errors import ConfigError
from tutelage.reproduce import check
from tutelage.reproduce.check import reproduce


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("evodk",), "Unknown paper 'evodk'. Did you mean 'evokd'? Available: evokd, llkd."),
        (("evokd", "--scale", "cup"), "Unknown scale 'cup'. Did you mean 'cpu'?"),
        (
            ("evokd", "--only", "over_statik"),
            "Unknown claim 'over_statik'. Did you mean 'over_static'?",
        ),
    ],
)
def test_a_name_that_there_is_not_is_code_2_with_the_nearest(
    tutelage: Command, workplace: Path, overrides: tuple[str, ...], said: str
) -> None:
    ended = tutelage("reproduce", *overrides)
    assert ended.code == 2
    assert said in ended.err
    assert not (workplace / "multirun_sweeps").exists()


def test_a_dry_run_prints_commands_and_what_they_take(tutelage: Command, workplace: Path) -> None:
    ended = tutelage(
        "reproduce", "evokd", "--only", "over_static", "--dry-run", "--set", "method.rounds=1"
    )
    assert ended.code == 0
    *lines, estimate = ended.out.splitlines()
    assert len(lines) == 2
    assert all(
        " method.rounds=1 " in line and line.startswith("tutelage train -m ") for line in lines
    )
    assert estimate.startswith("evokd at cpu scale: 6 runs of 2 arms on snips, about ")
    assert not (workplace / "multirun_sweeps").exists()


def test_what_this_machine_cannot_do_is_not_run_and_says_why(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "hardware", lambda: {"gpu": None})
    assert reproduce("mine", "full", claims=claims_file(workplace)) == 0
    (folder,) = (workplace / "multirun_sweeps" / "reproduce-mine-full").iterdir()
    found = {
        one["id"]: (one["verdict"], one["why"])
        for one in json.loads((folder / "verdicts.json").read_text())["claims"]
    }
    assert found == {
        "more": ("not run", "needs a GPU (a large one); this machine has none"),
        "little": ("not run", "nobody told how"),
    }
    said = " ".join(capsys.readouterr().out.split())
    assert "2 runs of 2 arms on a" in said
    assert "needs a GPU" in said


def test_a_run_that_does_not_compose_ends_it_before_the_first(workplace: Path) -> None:
    with pytest.raises(ConfigError, match=r"method\.roundss"):
        reproduce("mine", "cpu", extra=["method.roundss=1"], claims=claims_file(workplace))
    assert not list(workplace.glob("multirun_sweeps/*/*/jobs"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ablation=none", "On a the arms base and less come to the same configuration"),
        ("seed=4", "the seeds and the sweep are those of the claims"),
        ("sweep.reuse=false", "the seeds and the sweep are those of the claims"),
        ("+teacher.api_key=abc", "looks like a secret"),
    ],
)
@pytest.mark.parametrize("scale", ["cpu", "full"])
def test_an_override_of_every_run_that_spoils_the_comparison_is_refused(
    workplace: Path, scale: str, given: str, said: str
) -> None:
    extra = [given, "shots=3"]  # which the arms differ in besides
    with pytest.raises(ConfigError, match=said):
        reproduce("mine", scale, extra=extra, claims=claims_file(workplace))
    assert not (workplace / "multirun_sweeps").exists()


def test_a_metric_that_the_task_has_not_ends_it_before_the_first(workplace: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"Unknown sweep\.metric 'macro_F1'\. Did you mean 'macro_f1'"
    ):
        reproduce(
            "mine",
            "cpu",
            claims=claims_file(workplace, "mine/scales/cpu/sets/a/metric", "macro_F1"),
        )
    assert not (workplace / "multirun_sweeps").exists()
