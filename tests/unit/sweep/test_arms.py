"""Which runs are one arm, and what it is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.sweep.sweeps import build_sweep

from tutelage.errors import RunError
from tutelage.runs.folder import RunFolder
from tutelage.sweep.arms import NamedRun, configuration_of, name_arms, namesakes
from tutelage.sweep.results import read_sweep


def run(overrides: str, data: str = "a", **settings: object) -> NamedRun:
    return NamedRun(data, overrides, {"data": {"cue": data}, **settings})


def test_a_value_spelt_out_that_equals_the_default_makes_no_second_arm() -> None:
    runs = [
        run("evokd", rounds=8),
        run("evokd method.rounds=8", rounds=8),
        run("evokd method.rounds=4", rounds=4),
    ]
    assert name_arms(runs) == ("evokd", "evokd", "evokd method.rounds=4")
    assert not [*namesakes(runs, name_arms(runs))]


def test_arms_meet_over_data_sets_by_their_overrides_whatever_settings_the_data_brings() -> None:
    runs = [
        run("x", rounds=8),
        run("y", rounds=8),
        run("x", "b", rounds=8),
        run("y", "b", rounds=8),
        run("z", "b", rounds=9),
    ]
    assert name_arms(runs) == ("x", "x", "x", "x", "z")


def test_one_configuration_here_and_two_there_keep_their_own_overrides_there() -> None:
    assert name_arms([run("x", n=1), run("y", n=1), run("x", "b", n=1), run("y", "b", n=2)]) == (
        "x",
        "x",
        "x",
        "y",
    )
    assert name_arms([run("x", n=1), run("y", n=1), run("y", "b", n=2), run("x", "b", n=1)]) == (
        "x",
        "x",
        "y",
        "x",
    )


def test_two_configurations_with_one_name_are_numbered_and_what_differs_is_said() -> None:
    runs = [
        run("llkd", method={"momentum": 0.99, "alpha": 0.5}),
        run("llkd", method={"momentum": 0.9, "alpha": 0.5}),
        run("llkd", "b"),
    ]
    names = name_arms(runs)
    assert names == ("llkd", "llkd (2)", "llkd")
    assert [*namesakes(runs, names)] == [("llkd (2)", "llkd", "a", ["method.momentum"])]


def test_a_run_s_seed_its_names_and_its_data_s_place_are_no_part_of_its_arm(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "{seed: 2, name: n, resume: true, sweep: {name: s}, logger: {x: 1}, "
        "data: {path: /d, name: d, cue: Answer}, shots: 1}"
    )
    assert configuration_of(RunFolder(tmp_path)) == {"data": {"cue": "Answer"}, "shots": 1}
    for altered in ("[1", "words"):
        (tmp_path / "config.yaml").write_text(altered)
        with pytest.raises(RunError, match=r"config\.yaml cannot be read"):
            configuration_of(RunFolder(tmp_path))


def test_a_sweep_says_that_one_name_stands_for_two_configurations(tmp_path: Path) -> None:
    folder = build_sweep(tmp_path, {"evokd": (0.5, 0.6)})
    path = folder / "1" / "config.yaml"
    path.write_text(path.read_text().replace('"evokd"', '"evokd", "n_hard": 3'))
    results = read_sweep(folder)
    assert results.arms == ("all runs", "all runs (2)")
    assert results.notes[1:] == tuple(
        f"Without seed {seed}: {arm} on snips. Comparisons use the seeds of both arms, means use "
        "all seeds."
        for arm, seed in (("all runs", 2), ("all runs (2)", 1))
    )
    assert (
        results.notes[0]
        == "all runs (2) on snips has the overrides of all runs but another configuration: "
        "method.n_hard."
    )


def test_arms_by_their_overrides_alone_join_configurations_and_say_so(tmp_path: Path) -> None:
    folder = build_sweep(tmp_path, {"shots": (0.4, 0.5), "evokd": (0.5, 0.6)})
    path = folder / "3" / "config.yaml"
    path.write_text(path.read_text().replace('"evokd"', '"evokd", "n_hard": 3'))
    results = read_sweep(folder, by_overrides=True)
    assert results.arms == ("shots", "evokd")
    assert results.blocks("evokd") == {("snips", 1): 0.5, ("snips", 2): 0.6}
    assert results.notes == (
        "One arm by its overrides, with configurations that differ in method.n_hard: "
        "evokd on snips.",
    )
    assert "evokd (2)" in read_sweep(folder).arms
