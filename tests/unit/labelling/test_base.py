"""Opinions: from the teacher's probabilities to the target of a row."""

from __future__ import annotations

import pytest
from tests.helpers.ner import SPACE, spans

from tutelage.errors import DataError
from tutelage.labelling.base import Draft, Opinion
from tutelage.records import LabelDistribution
from tutelage.tasks.spans import Span, read_spans

DISTRIBUTION = LabelDistribution(SPACE, (0.6, 0.25, 0.1, 0.05), 0.2)
NER = Opinion(
    DISTRIBUTION,
    ((Span(6, 7, "LOC"), 0.9), (Span(0, 1, "ORG"), 0.7)),
    spans((2, 4, "PER"), (8, 9, "PER")),
    marked=True,
)


def test_a_class_is_its_own_target() -> None:
    opinion = Opinion(LabelDistribution(("Animal", "Tool"), (0.3, 0.7), 0.0))
    assert opinion.target("Tool") == "Tool"
    assert opinion.target("O") == "O"
    assert opinion.entity_confidence("Tool") == ()


def test_a_marking_holds_the_mentions_under_the_label_and_the_other_entities() -> None:
    assert read_spans(NER.target("PER")) == spans(
        (0, 1, "ORG"), (2, 4, "PER"), (6, 7, "LOC"), (8, 9, "PER")
    )
    assert read_spans(NER.target("LOC")) == spans(
        (0, 1, "ORG"), (2, 4, "LOC"), (6, 7, "LOC"), (8, 9, "LOC")
    )


def test_confidences_are_in_the_order_of_the_target() -> None:
    assert NER.entity_confidence("PER") == (0.7, 0.6, 0.9, 0.6)
    assert NER.entity_confidence("LOC") == (0.7, 0.25, 0.9, 0.25)


def test_mentions_that_are_believed_to_be_none_are_no_entities() -> None:
    assert read_spans(NER.target("O")) == spans((0, 1, "ORG"), (6, 7, "LOC"))
    assert NER.entity_confidence("O") == (0.7, 0.9)


def test_a_marking_without_entities() -> None:
    opinion = Opinion(LabelDistribution(SPACE, (0.0, 0.0, 0.0, 1.0), 0.0), marked=True)
    assert opinion.target("O") == opinion.target("PER") == "[]"
    assert opinion.entity_confidence("O") == ()


def test_an_entity_over_a_mention_is_refused() -> None:
    opinion = Opinion(DISTRIBUTION, ((Span(3, 5, "LOC"), 0.9),), spans((2, 4, "PER")), marked=True)
    with pytest.raises(DataError, match="overlap"):
        opinion.target("PER")


def test_a_draft_has_no_mentions_of_its_own() -> None:
    assert Draft("a text").mentions == ()
