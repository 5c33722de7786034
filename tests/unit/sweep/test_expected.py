"""How many jobs a command line comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.errors import ConfigError, RunError
from tutelage.sweep.expected import expected_jobs
from tutelage.sweep.session import make_folder


def test_the_product_of_the_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    found = expected_jobs(["seed=1,2,3", "method=shots,evokd", "shots=2"])
    assert (found.total, found.swept) == (6, {"seed", "method"})
    assert (found.config.seed, found.config.method_name, found.config.shots) == (1, "shots", 2)
    assert str(found.config.hydra.sweep_dir).startswith("multirun_sweeps/snips_intent-shots/")


def test_a_named_sweep_brings_its_lists_and_the_command_line_has_the_last_word() -> None:
    found = expected_jobs(["sweep=ablate_evokd", "seed=range(0,5)"])
    assert (found.total, found.swept) == (7 * 5, {"ablation", "seed"})
    assert found.config.budget.tokens == 200_000
    assert str(found.config.hydra.sweep_dir).startswith("multirun_sweeps/ablate_evokd/")


def test_what_the_sweep_sets_may_be_changed_further() -> None:
    found = expected_jobs(["sweep=acquire", "method.pool_size=500", "seed=1"])
    assert (found.total, found.config.method_name, found.config.method.settings["pool_size"]) == (
        11,
        "llkd_on_demand",
        500,
    )


def test_optuna_decides_as_it_goes_and_says_how_often() -> None:
    found = expected_jobs(
        [
            "hydra/sweeper=optuna",
            "hydra.sweeper.n_trials=7",
            "student.learning_rate=interval(1e-5,1e-3)",
            "seed=1",
        ]
    )
    assert (found.total, found.swept) == (7, {"student.learning_rate"})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["seed=1,2", "method=evokt"], "Did you mean 'evokd'"),
        (["sweep=seedz"], "Did you mean 'seeds'"),
        (["seed=1,,2"], "seed=1,,2"),
        (["ablation=glob(no_*)"], "cannot be counted"),
        (["sweep.fail_fast=perhaps", "seed=1,2"], "fail_fast"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        expected_jobs(overrides)


def test_two_sweeps_of_one_second_have_folders_of_their_own_and_a_named_one_begins_anew(
    tmp_path: Path,
) -> None:
    first, second = (make_folder(tmp_path / "mine" / "now", named=False) for _ in range(2))
    assert (first.name, second.name) == ("now", "now-2")
    (first / "jobs").mkdir()
    (first / "jobs" / "000.json").write_text("{}")
    assert make_folder(first, named=True) == first
    assert not list(first.glob("jobs/*"))
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"The sweep's folder .* cannot be made"):
        make_folder(tmp_path / "file" / "now", named=False)
