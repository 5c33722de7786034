"""Runs that several claims share are planned once, and a command says them as one multirun."""

from __future__ import annotations

from pathlib import Path

from tests.unit.reproduce.papers import claims_file

from tutelage.reproduce.reading import read_papers
from tutelage.reproduce.runs import check_command, commands, runs_of


def test_each_run_is_planned_once_and_the_last_word_on_a_key_counts(tmp_path: Path) -> None:
    (paper,) = read_papers(claims_file(tmp_path)).values()
    cpu = paper.scale("cpu")
    runs = runs_of(paper, cpu, paper.claims)
    assert [(run.arm, run.data, run.seed) for run in runs] == [
        (arm, data, seed)
        for data, arm in (("a", "base"), ("a", "less"), ("b", "base"), ("b", "less"))
        for seed in (1, 2)
    ]
    assert runs[0].overrides == (
        "shots=1",
        "data=snips",
        "method=evokd",
        "method.rounds=2",
        "seed=1",
    )
    assert runs[2].overrides == (
        "shots=2",
        "data=snips",
        "method=evokd",
        "method.rounds=2",
        "ablation=no_easy",
        "seed=1",
    )
    assert runs_of(paper, cpu, paper.claims[1:], ["method.rounds=1"])[0].overrides[-2:] == (
        "method.rounds=1",
        "seed=1",
    )
    # Another option of a group replaces the former one with its settings.
    assert runs_of(paper, cpu, paper.claims[1:], ["method=shots"])[0].overrides == (
        "shots=1",
        "data=snips",
        "method=shots",
        "seed=1",
    )
    # A claim that is skipped at a scale needs no run there.
    assert runs_of(paper, paper.scale("full"), paper.claims[1:]) == ()


def test_an_override_may_name_the_data_set_of_its_run(tmp_path: Path) -> None:
    file = claims_file(tmp_path, "mine/arms/base/overrides", ["method=evokd", "name=on_{data}"])
    (paper,) = read_papers(file).values()
    runs = runs_of(paper, paper.scale("cpu"), paper.claims)
    assert {run.data for run in runs} == {"a", "b"}
    assert all(f"name=on_{run.data}" in run.overrides for run in runs)


def test_a_command_is_the_multirun_of_the_same_runs(tmp_path: Path) -> None:
    (paper,) = read_papers(claims_file(tmp_path)).values()
    lines = commands(paper, paper.scale("cpu"), paper.claims)
    assert len(lines) == 4
    assert (
        lines[0] == "tutelage train -m shots=1 data=snips method=evokd method.rounds=2 seed=1,2 "
        "sweep.name=reproduce-mine-cpu"
    )
    assert (
        check_command(paper, paper.scale("cpu"), paper.claims)
        == "tutelage reproduce mine --scale cpu --only more little"
    )
