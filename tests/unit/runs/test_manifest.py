"""The manifest contains no secrets, and its hash follows the settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tutelage.runs.manifest import PACKAGES, config_hash, environment, plain_config
from tutelage.version import __version__

CANARY = "sk-canary-0123456789"


def config(**changes: Any) -> Any:
    return {
        "name": "evokd-run",
        "method": {"name": "evokd", "rounds": 3},
        "resume": False,
        "seed": 0,
        **changes,
    }


def test_secrets_are_masked_wherever_they_stand() -> None:
    planted = {
        "api_key": CANARY,
        "hub": {"HF_TOKEN": CANARY, "list": [{"my_secret": CANARY}, {"password": CANARY}]},
        "headers": {"Authorization": CANARY},
        "url": f"https://somebody:{CANARY}@localhost:8000/v1",
    }
    plain = plain_config(config(teacher=planted))
    assert CANARY not in json.dumps(plain)
    assert plain["teacher"]["url"] == "***"
    assert plain["teacher"]["headers"] == {"Authorization": "***"}
    assert plain["teacher"]["hub"]["list"] == [{"my_secret": "***"}, {"password": "***"}]


def test_what_only_sounds_secret_stays() -> None:
    kept = {
        "api_key_env": "OPENAI_API_KEY",
        "max_tokens": 40,
        "analysis_tokens": "48",
        "tokens": None,
        "api_key": "",
        "url": "http://a:8000/v1@b",
    }
    assert plain_config(config(teacher=kept))["teacher"] == kept


def test_a_class_that_sounds_secret_stays() -> None:
    classes = {
        "labels": {"password_reset": "password", "monkey": {"word": "monkey", "keyword": "ape"}}
    }
    assert plain_config(config(data={**classes, "hub_token": CANARY}))["data"] == {
        **classes,
        "hub_token": "***",
    }


def test_the_hash_takes_any_number_of_devices_for_one() -> None:
    one = {"devices": 1, "strategy": "auto", "precision": "auto"}
    same = config_hash(config(trainer=one))
    assert config_hash(config(trainer={**one, "devices": 2, "strategy": "ddp"})) == same
    assert config_hash(config(trainer={**one, "devices": [1]})) == same
    assert config_hash(config(trainer={**one, "precision": "16-mixed"})) != same


def test_the_hash_ignores_what_changes_no_result() -> None:
    same = config_hash(config())
    assert len(same) == 16
    for ignored in (
        {"resume": True},
        {"logger": {"online": True}},
        {"sweep": {"name": "mine"}},
        {"resume": "outputs/a/b"},
    ):
        assert config_hash(config(**ignored)) == same
    for counted in (
        {"seed": 1},
        {"method": {"name": "evokd", "rounds": 4}},
        {"name": "other"},
        {"shots": 1},
    ):
        assert config_hash(config(**counted)) != same


def test_the_hash_does_not_follow_the_order() -> None:
    assert config_hash({"a": 1, "b": {"c": 2, "d": 3}}) == config_hash(
        {"b": {"d": 3, "c": 2}, "a": 1}
    )


def test_a_secret_changes_the_hash_without_being_in_it() -> None:
    assert config_hash(config(api_key="a")) != config_hash(config(api_key="b"))


def test_the_environment_is_plain_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    found = environment()
    text = json.dumps(found)
    assert CANARY not in text
    assert found["tutelage"] == __version__
    assert set(found["packages"]) <= set(PACKAGES)
    assert {"torch", "transformers", "pytorch-lightning", "hydra-core"} <= set(found["packages"])
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["memory_gb"] > 0
    assert set(found["hardware"]) == {"cpu", "cores", "memory_gb", "gpu"}
