"""Which labeller a configuration has: verify or extract for entities, whole texts otherwise."""

from __future__ import annotations

import pytest
from tests.helpers.classification import WordTeacher, prompt_set
from tests.helpers.ner import ADA, ADA_REPLY, SHOTS, TYPES, knowing

from tutelage.config.build import build_labeller
from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft
from tutelage.labelling.ner_extract import SpanExtractor
from tutelage.labelling.ner_verify import SpanVerifier
from tutelage.labelling.scoring import TextLabeller
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask
from tutelage.teacher.base import GenerateRequest

PROMPTS = prompt_set("completion_ner")


@pytest.mark.parametrize(("way", "kind"), [("extract", SpanExtractor), ("verify", SpanVerifier)])
def test_the_way_is_configured(way: str, kind: type) -> None:
    config = compose_config(["task=ner", "data=wikigold", f"teacher.ner={way}"])
    teacher = WordTeacher(knowing(replies={ADA: ADA_REPLY}))
    labeller = build_labeller(config, PROMPTS, NerTask(TYPES), teacher, SHOTS)
    assert type(labeller) is kind
    (opinion,) = labeller.label([Draft(ADA)]).opinions
    assert opinion is not None
    assert isinstance(teacher.asked[0], GenerateRequest) == (way == "extract")


def test_an_unknown_way_is_refused() -> None:
    config = compose_config(["task=ner", "data=wikigold", "teacher.ner=extrct"])
    with pytest.raises(
        ConfigError,
        match=r"Unknown teacher\.ner 'extrct'\. Did you mean 'extract'\? Available: extract, verify\.",
    ):
        build_labeller(config, PROMPTS, NerTask(TYPES), WordTeacher(knowing()), SHOTS)


def test_whole_texts_are_not_extracted_from() -> None:
    config = compose_config(["teacher.ner=extract"])
    labeller = build_labeller(
        config, prompt_set(), ClassificationTask(TYPES), WordTeacher(knowing()), ()
    )
    assert type(labeller) is TextLabeller
