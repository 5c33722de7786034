"""``labelling.teachers``: what differs from the run's own teacher, checked like a teacher."""

from __future__ import annotations

import pytest

from tutelage.config.compose import compose_config
from tutelage.config.schema import Component
from tutelage.errors import ConfigError

SERVER = "tutelage.teacher.engines.server.ServerTeacher"


def others(*overrides: str) -> dict[str, Component]:
    return compose_config(["labelling=ensemble", *overrides]).other_teachers


def test_a_teacher_has_the_settings_of_the_run_s_own_but_for_those_it_names() -> None:
    config = compose_config(
        [
            "labelling=ensemble",
            "teacher.kv_cache_gb=0.5",
            "labelling.teachers.coder.model=qwen2.5-coder-0.5b",
            "labelling.teachers.other.kv_cache_gb=1.5",
        ]
    )
    found = config.other_teachers
    assert [*found] == ["coder", "other"]
    assert found["coder"].target == config.teacher.target
    assert found["coder"].settings == {**config.teacher.settings, "model": "qwen2.5-coder-0.5b"}
    assert found["other"].settings == {**config.teacher.settings, "kv_cache_gb": 1.5}


def test_an_engine_of_another_kind_has_nothing_but_its_own() -> None:
    found = others(
        f"labelling.teachers.big._target_={SERVER}",
        "labelling.teachers.big.url=http://127.0.0.1:1/v1",
        "labelling.teachers.big.model=m",
    )
    assert found["big"] == Component(SERVER, {"url": "http://127.0.0.1:1/v1", "model": "m"})


def test_a_key_does_not_go_to_another_address() -> None:
    server = ["teacher=server", "teacher.model=m", "teacher.api_key_env=MY_KEY"]
    found = others(
        *server,
        "labelling.teachers.same.model=n",
        "labelling.teachers.far.url=http://127.0.0.1:1/v1",
        "labelling.teachers.own.url=http://127.0.0.1:2/v1",
        "labelling.teachers.own.api_key_env=OTHER_KEY",
    )
    assert found["same"].settings["api_key_env"] == "MY_KEY"
    assert "api_key_env" not in found["far"].settings
    assert found["own"].settings["api_key_env"] == "OTHER_KEY"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "labelling.teachers.coder.modle=x",
            r"labelling\.teachers\.coder\.modle: Unknown setting of VllmTeacher 'modle'",
        ),
        ("labelling.teachers.coder.kv_cache_gb=much", r"coder\.kv_cache_gb='much' is not a number"),
        (f"labelling.teachers.big._target_={SERVER}", r"labelling\.teachers\.big\.url has no"),
        (
            "++labelling.teachers={2nd: {model: x}}",
            r"labelling\.teachers\.2nd names a teacher, and its files: give it a name of letters",
        ),
        ("labelling.teachers.coder=qwen", r"labelling\.teachers.*is not a mapping"),
        ("labelling.teachers.coder.log_path=x", "Unknown setting of VllmTeacher 'log_path'"),
        ("labelling.teachers.coder.cache=x", "Unknown setting of VllmTeacher 'cache'"),
        ("labelling.open_teacher=x", "open_teacher"),
    ],
)
def test_what_is_no_teacher_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        others(override)


def test_only_an_ensemble_has_teachers() -> None:
    with pytest.raises(ConfigError, match="Unknown setting of TextLabeller 'teachers'"):
        compose_config(["labelling=text", "labelling.teachers.coder.model=x"])
