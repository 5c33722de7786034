"""Configurations are checked in a process of their own."""

from __future__ import annotations

import io
import json

import pytest

from tutelage.config import apart
from tutelage.config.apart import check_apart
from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError, RunError


def test_what_the_light_check_cannot_see_is_found_apart() -> None:
    wrong = ["method=llkd", "select.combine=prod"]
    assert compose_config(wrong, import_targets=False).select.settings["combine"] == "prod"
    with pytest.raises(ConfigError) as refused:
        check_apart([["seed=2"], wrong])
    assert str(refused.value) == (
        "Unknown select.combine 'prod'. Did you mean 'product'? Available: mix, none, product, sum."
    )


@pytest.mark.parametrize(
    "override", ["seed=abc", "training.keep=bets", "student.pooling=man", "+trainer.foo=1"]
)
def test_groups_without_a_target_are_checked_without_an_import(override: str) -> None:
    with pytest.raises(ConfigError):
        compose_config([override], import_targets=False)


def test_nothing_to_check_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart.sys, "executable", "/no/such/python")
    check_apart([])
    with pytest.raises(FileNotFoundError):
        check_apart([[]])


def test_a_process_that_dies_is_no_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart.sys, "executable", "/bin/false")
    with pytest.raises(RunError, match=r"could not be checked \(exit code 1\)"):
        check_apart([[]])


def test_the_process_says_what_is_wrong_in_its_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for runs, code, said in (
        ([["seed=2"], []], 0, ""),
        ([["seed=x"]], 2, "seed='x' is not a whole"),
    ):
        monkeypatch.setattr(apart.sys, "stdin", io.StringIO(json.dumps(runs)))
        assert apart.main() == code
        assert capsys.readouterr().err.startswith(said)
