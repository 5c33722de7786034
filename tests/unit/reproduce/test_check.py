"""``tutelage reproduce`` without any run; with runs: tests/integration/test_reproduce.py."""

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
        (
            ("evodk",),
            "Unknown paper 'evodk'. Did you mean 'evokd'? Available: evokd, llkd, relatives.",
        ),
        (("evokd", "--scale", "cup"), "Unknown scale 'cup'. Did you mean 'cpu'?"),
        (("evokd", "--data", "here"), "--data here: --scale cpu reads no folder of data sets."),
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


def test_a_table_limits_the_claims_and_only_narrows_it_further(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims = claims_file(workplace)
    planned = {}
    for table, only in (("main", []), ("ablations", []), ("main", ["more", "little"]), (None, [])):
        assert reproduce("mine", "cpu", only, table=table, dry_run=True, claims=claims) == 0
        planned[table, *only] = capsys.readouterr().out.splitlines()[-1]
    assert planned == {
        ("main",): "mine at cpu scale: 8 runs of 2 arms on a, b, about 16 min on two quiet cores",
        ("ablations",): "mine at cpu scale: 2 runs of 1 arm on a, about 4 min on two quiet cores",
        ("main", "more", "little"): planned["main",],
        (None,): planned["main",],
    }
    with pytest.raises(ConfigError, match=r"Unknown table 'man'\. Did you mean 'main'\?"):
        reproduce("mine", "cpu", table="man", claims=claims)
    with pytest.raises(
        ConfigError, match="--only little names no claim of --table main, which has more"
    ):
        reproduce("mine", "cpu", ["little"], table="main", claims=claims)


def test_claims_of_another_table_are_not_judged(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "hardware", lambda: {"gpu": None})
    assert reproduce("mine", "full", table="ablations", claims=claims_file(workplace)) == 0
    (folder,) = (workplace / "multirun_sweeps" / "reproduce-mine-full").iterdir()
    listed = json.loads((folder / "verdicts.json").read_text())["claims"]
    assert {one["id"]: one["why"] for one in listed} == {
        "more": "not chosen by --table or --only",
        "little": "nobody told how",
    }


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
        ("ablation=none", "On a the arms base and less have the same configuration"),
        ("seed=4", "the claims set the seeds, the experiments and the sweep themselves"),
        ("sweep.reuse=false", "the claims set the seeds, the experiments and the sweep themselves"),
        ("experiment=evokd_paper", "the claims set the seeds, the experiments and the sweep"),
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
