"""From configuration to objects: what cannot be built says why."""

from __future__ import annotations

import pytest

from tutelage.config.build import build, build_method
from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError
from tutelage.tasks.ner import NerTask


def test_an_experiment_s_value_for_another_method_says_where_it_comes_from() -> None:
    with pytest.raises(
        ConfigError,
        match=r"unexpected keyword argument 'rounds'\. An experiment or ablation sets it for another method",
    ):
        build_method(compose_config(["experiment=quickstart_ner", "method=shots"]))


def test_the_task_chooses_prompt_and_student() -> None:
    config = compose_config(["task=ner", "data=wikigold"])
    assert config.prompt.name == "completion_ner"
    assert config.student.learning_rate == 2e-4
    assert compose_config([]).prompt.name == "completion_classification"


def test_what_is_given_needs_no_configuration() -> None:
    task = build(compose_config(["task=ner", "data=wikigold"]).task, "task", labels=())
    assert isinstance(task, NerTask)
    assert task.outputs == ("O",)
