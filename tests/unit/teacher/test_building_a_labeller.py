"""The labeller of a configuration: verify or extract for entities, scoring for whole texts."""

from __future__ import annotations

import pytest
from tests.helpers.classification import WordTeacher, prompt_set
from tests.helpers.ner import ADA, ADA_REPLY, SHOTS, TYPES, knowing

from tutelage.config.build_labeller import build_labeller
from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft
from tutelage.labelling.ner_extract import SpanExtractor
from tutelage.labelling.ner_verify import SpanVerifier
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask
from tutelage.teacher.base import GenerateRequest

PROMPTS = prompt_set("completion_ner")


@pytest.mark.parametrize(("way", "kind"), [("extract", SpanExtractor), ("verify", SpanVerifier)])
def test_the_way_is_configured(way: str, kind: type) -> None:
    config = compose_config(["task=ner", "data=wikigold", f"labelling={way}"])
    teacher = WordTeacher(knowing(replies={ADA: ADA_REPLY}))
    labeller = build_labeller(config, PROMPTS, NerTask(TYPES), teacher, SHOTS)
    assert type(labeller) is kind
    (opinion,) = labeller.label([Draft(ADA)]).opinions
    assert opinion is not None
    assert isinstance(teacher.asked[0], GenerateRequest) == (way == "extract")


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"Unknown labelling 'extrct'\. Did you mean 'extract'\? Available: ",
    ):
        compose_config(["task=ner", "data=wikigold", "labelling=extrct"])


def test_whole_texts_are_scored() -> None:
    labeller = build_labeller(
        compose_config([]), prompt_set(), ClassificationTask(TYPES), WordTeacher(knowing()), ()
    )
    assert type(labeller) is TextLabeller


def test_a_labelling_for_another_task_is_refused() -> None:
    config = compose_config(["labelling=verify"])
    with pytest.raises(
        ConfigError, match="labelling=verify labels entities, and task=classification does not"
    ):
        build_labeller(config, prompt_set(), ClassificationTask(TYPES), WordTeacher(knowing()), ())
