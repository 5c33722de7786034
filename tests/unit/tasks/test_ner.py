"""Targets, decoding and metrics of named entity recognition."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score
from seqeval.scheme import IOB2

from tutelage.errors import ConfigError, DataError
from tutelage.records import ClassScore, Label, LabelDistribution, Outcome, Row, row_from_dict
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import Span, from_tags, read_spans, strict_tags, to_tags, write_spans

LABELS = (Label("PER", "person", "people"), Label("LOC", "place", "places"))
TASK = NerTask(LABELS)
FREE = NerTask(LABELS, constrained=False)
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TEXT = "Anna Lee lives in New York"
GOLD = write_spans([Span(0, 2, "PER"), Span(4, 6, "LOC")])


def sure(tag: str, probability: float = 0.9) -> list[float]:
    return [probability if one == tag else (1 - probability) / 4 for one in TAGS]


def outcome(target: str, predicted: str, text: str = TEXT, tags: tuple[str, ...] = ()) -> Outcome:
    return Outcome("o", text, target, predicted, (0.5,), "dev", 0, tags)


def read_as(task: NerTask, gold: list[str], said: list[str]) -> Outcome:
    """The outcome of a student predicting ``said`` with certainty."""
    reading = task.read([sure(tag) for tag in said])
    return Outcome(
        "o",
        " ".join("w" * len(gold)),
        write_spans(from_tags(gold)),
        *reading[:2],
        "dev",
        0,
        reading.tags,
    )


def test_the_student_s_outputs_are_tags() -> None:
    assert TASK.labels == LABELS
    assert TASK.outputs == tuple(TAGS)
    assert (TASK.name, TASK.is_token_level, TASK.monitor) == ("ner", True, "f1_strict")


def test_the_student_reads_words_and_saves_how_it_decodes() -> None:
    assert TASK.model_input(TEXT) == TEXT.split(" ")
    assert (TASK.student_settings, FREE.student_settings) == (
        {"constrained_tags": True},
        {"constrained_tags": False},
    )


def test_a_target_is_a_list_of_spans() -> None:
    TASK.check_target(GOLD)
    TASK.check_target(TASK.empty_target)
    with pytest.raises(ValueError, match="Expecting value"):
        TASK.check_target("PER")
    with pytest.raises(TypeError):
        TASK.check_target("7")


def test_confusions_are_by_type_with_nothing_on_one_side_of_a_missed_entity() -> None:
    predicted = write_spans([Span(0, 2, "PER"), Span(2, 3, "PER"), Span(3, 6, "LOC")])
    # The right type with a wrong boundary counts as right.
    assert sorted(TASK.confusions(outcome(GOLD, predicted))) == [
        ("", "PER"),
        ("LOC", "LOC"),
        ("PER", "PER"),
    ]
    assert TASK.confusions(outcome(GOLD, "[]")) == (("PER", ""), ("LOC", ""))


def test_targets_are_one_hot_words() -> None:
    row = Row("r", TEXT, GOLD, "easy", 1, True)
    indices = [TAGS.index(tag) for tag in ("B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC")]
    assert TASK.target_vectors(row) == [
        [float(index == one) for index in range(5)] for one in indices
    ]
    with pytest.raises(
        DataError, match=r"Unknown entity type 'PERS'\. Did you mean 'PER'\? Available: LOC, PER\."
    ):
        TASK.target_vectors(Row("r", TEXT, write_spans([Span(1, 2, "PERS")]), "easy", 1, True))


def test_the_teacher_s_opinion_of_a_word_is_that_of_its_entity_and_the_rest_is_outside() -> None:
    row = Row("r", TEXT, GOLD, "pool", 1, True, entity_confidence=(0.75, 0.5))
    shares = [
        ("B-PER", 0.75),
        ("I-PER", 0.75),
        ("O", 1.0),
        ("O", 1.0),
        ("B-LOC", 0.5),
        ("I-LOC", 0.5),
    ]
    wanted = [
        [share if tag == own else (1 - share) * (tag == "O") for tag in TAGS]
        for own, share in shares
    ]
    assert TASK.teacher_vectors(row) == wanted
    assert TASK.teacher_vectors(replace(row, entity_confidence=())) == TASK.target_vectors(row)
    assert (row.confidence, row.mean_confidence) == (0.5, 0.625)


def test_words_weigh_their_row_s_weight_or_the_teacher_s_confidence_in_their_entity_too() -> None:
    row = Row("r", TEXT, GOLD, "pool", 1, True, weight=0.5, entity_confidence=(0.75, 0.1))
    again = row_from_dict(json.loads(json.dumps(asdict(row))))  # like a resumed run
    by_confidence = NerTask(LABELS, word_weights="confidence")
    assert TASK.unit_weights(again) == [0.5] * 6
    assert by_confidence.unit_weights(again) == [0.375, 0.375, 0.5, 0.5, 0.05, 0.05]
    assert (
        by_confidence.unit_weights(replace(row, entity_confidence=())) == [0.5] * 6
    )  # for example gold
    assert by_confidence.unit_weights(replace(row, target="[]", entity_confidence=())) == [0.5] * 6


def test_unknown_word_weights_are_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"Unknown task\.word_weights 'confident'\. Did you mean 'confidence'\? "
        r"Available: confidence, row\.",
    ):
        NerTask(LABELS, word_weights="confident")  # type: ignore[arg-type]


def test_a_text_is_counted_under_its_rarest_type() -> None:
    row = Row("r", TEXT, GOLD, "pool", 1, True)
    names = [label.name for label in LABELS]
    assert TASK.group_of(row, {"PER": 3, "LOC": 2}) == names.index("LOC")
    assert TASK.group_of(row, {"PER": 1, "LOC": 2}) == names.index("PER")
    assert TASK.group_of(row, {}) == 0  # a tie: the first in the label space
    assert TASK.group_of(replace(row, target="[]"), {"PER": 1}) == len(LABELS)


def test_every_tag_counts_for_its_type_and_o_for_texts_without_entities() -> None:
    names = [*(label.name for label in LABELS), "O"]
    assert [names[key] for key in TASK.output_groups] == [
        tag.split("-")[-1] for tag in TASK.outputs
    ]


def test_what_the_student_says_is_read_with_its_least_certain_word() -> None:
    reading = TASK.read(
        [sure("B-PER"), sure("I-PER", 0.7), sure("O"), sure("O"), sure("B-LOC"), sure("I-LOC")]
    )
    assert reading.predicted == GOLD
    assert reading.probabilities == (0.7,)
    assert reading.tags == ("B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC")


def test_a_word_that_the_student_did_not_see_is_no_entity() -> None:
    assert TASK.read([sure("B-PER", 0.8), None, None]) == (
        write_spans([Span(0, 1, "PER")]),
        (0.8,),
        ("B-PER", "O", "O"),
    )
    assert TASK.read([None]) == ("[]", (1.0,), ("O",))


def test_an_inner_tag_that_nothing_begins_is_mended_or_left_out() -> None:
    said = [[0.3, 0.1, 0.6, 0.0, 0.0], sure("I-PER"), sure("O"), sure("I-LOC")]
    # O I-PER is not valid, so the entity begins one word earlier. The lone I-LOC is equally close
    # to B-LOC and O, and O comes first.
    assert TASK.read(said).tags == ("B-PER", "I-PER", "O", "O")
    assert TASK.read(said).predicted == write_spans([Span(0, 2, "PER")])
    assert FREE.read(said) == ("[]", (0.6,), ("I-PER", "I-PER", "O", "I-LOC"))


@given(st.lists(st.sampled_from(TAGS), min_size=1, max_size=8))
def test_a_certain_student_is_read_as_it_says(tags: list[str]) -> None:
    strict = strict_tags(tags)
    assert FREE.read([sure(tag) for tag in tags]).predicted == write_spans(from_tags(strict))
    assert TASK.read([sure(tag) for tag in strict]).tags == tuple(strict)


def test_classes_are_the_types_in_order() -> None:
    assert TASK.classes(write_spans([Span(0, 1, "LOC"), Span(1, 2, "PER"), Span(2, 3, "LOC")])) == (
        "LOC",
        "PER",
    )
    assert TASK.classes("[]") == ("O",)


def test_mistakes_and_what_is_shown() -> None:
    seen = outcome(GOLD, write_spans([Span(0, 2, "LOC"), Span(2, 3, "PER"), Span(5, 6, "LOC")]))
    assert TASK.mistakes(seen) == (
        ("PER", "LOC", "Anna Lee"),
        ("", "PER", "lives"),
        ("LOC", "LOC", "New York"),
    )
    person, index = LABELS
    assert TASK.shown(seen) == {
        "text": TEXT,
        "entities": [
            {"mention": "Anna Lee", "label": person},
            {"mention": "New York", "label": index},
        ],
        "errors": [
            {
                "kind": "type",
                "gold": {"mention": "Anna Lee", "label": person},
                "predicted": {"mention": "Anna Lee", "label": index},
            },
            {"kind": "invented", "gold": None, "predicted": {"mention": "lives", "label": person}},
            {
                "kind": "boundary",
                "gold": {"mention": "New York", "label": index},
                "predicted": {"mention": "York", "label": index},
            },
        ],
    }
    right = outcome(GOLD, GOLD)
    assert (TASK.mistakes(right), TASK.shown(right)["errors"]) == ((), [])
    assert TASK.mistakes(outcome(GOLD, "[]")) == (("PER", "", "Anna Lee"), ("LOC", "", "New York"))


def test_a_part_of_an_entity_is_no_example_of_words_that_are_none() -> None:
    torn = outcome(
        write_spans([Span(4, 6, "LOC")]), write_spans([Span(4, 5, "PER"), Span(5, 6, "LOC")])
    )
    assert TASK.mistakes(torn) == (("", "PER", ""), ("LOC", "LOC", "New York"))


def test_the_margin_is_that_of_the_teacher_s_two_best() -> None:
    opinion = LabelDistribution(("PER", "LOC", "O"), (0.2, 0.7, 0.1), 0.0)
    assert TASK.margin(opinion, outcome(GOLD, "[]")) == pytest.approx(0.5)


def test_metrics_by_hand() -> None:
    metrics = TASK.metrics(
        [
            outcome(GOLD, GOLD),
            outcome(GOLD, write_spans([Span(0, 2, "PER"), Span(5, 6, "LOC")])),
            outcome("[]", "[]"),
        ]
    )
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["f1_strict"] == metrics["f1_default"] == pytest.approx(0.75)
    assert metrics["errors"] == {"boundary": 1}
    assert metrics["per_class"]["PER"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 2}
    assert metrics["per_class"]["LOC"] == pytest.approx(
        {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    )


@pytest.mark.parametrize("outcomes", [[], [outcome("[]", "[]")]], ids=["nothing", "no entities"])
def test_without_entities_all_is_zero(outcomes: list[Outcome]) -> None:
    empty = asdict(ClassScore(0.0, 0.0, 0.0, 0))
    assert TASK.metrics(outcomes) == {
        "f1_strict": 0.0,
        "f1_default": 0.0,
        "accuracy": float(len(outcomes)),
        "errors": {},
        "per_class": {"PER": empty, "LOC": empty},
    }


def test_entities_on_one_side_only() -> None:
    for seen in (outcome(GOLD, "[]"), outcome("[]", GOLD)):
        metrics = TASK.metrics([seen])
        assert (metrics["f1_strict"], metrics["f1_default"], metrics["accuracy"]) == (0.0, 0.0, 0.0)
        assert metrics["errors"] == {"missed" if seen.predicted == "[]" else "invented": 2}


def test_the_default_mode_counts_an_entity_that_nothing_begins() -> None:
    seen = read_as(FREE, ["B-PER", "I-PER", "O"], ["I-PER", "I-PER", "O"])
    assert seen.predicted == "[]"
    metrics = FREE.metrics([seen])
    assert (metrics["f1_strict"], metrics["f1_default"]) == (0.0, 1.0)


PAIRS = st.integers(1, 7).flatmap(
    lambda length: st.tuples(
        *(st.lists(st.sampled_from(TAGS), min_size=length, max_size=length) for _ in range(2))
    )
)


@settings(max_examples=80)
@given(st.lists(PAIRS, min_size=1, max_size=6))
@pytest.mark.parametrize("task", [TASK, FREE], ids=["constrained", "free"])
def test_metrics_are_those_of_seqeval(
    task: NerTask, pairs: list[tuple[list[str], list[str]]]
) -> None:
    outcomes = [read_as(task, gold, said) for gold, said in pairs]
    gold = [to_tags(from_tags(tags), len(tags)) for tags, _ in pairs]
    said = [list(seen.tags) for seen in outcomes]
    metrics = task.metrics(outcomes)
    if not any(tag != "O" for tags in (*gold, *said) for tag in tags):
        assert (metrics["f1_strict"], metrics["f1_default"]) == (0.0, 0.0)
        return
    assert metrics["f1_strict"] == pytest.approx(
        f1_score(gold, said, mode="strict", scheme=IOB2, zero_division=0)
    )
    assert metrics["f1_default"] == pytest.approx(f1_score(gold, said, zero_division=0))
    if task is TASK:
        assert metrics["f1_strict"] == pytest.approx(metrics["f1_default"])
    # Our spans and the scores per type agree with seqeval's strict mode.
    sets = [(set(read_spans(seen.target)), set(read_spans(seen.predicted))) for seen in outcomes]
    right, wanted, given_ = (
        sum(map(len, one)) for one in zip(*((a & b, a, b) for a, b in sets), strict=True)
    )
    assert metrics["f1_strict"] == pytest.approx(2 * right / max(1, wanted + given_))
    report = (
        classification_report(
            gold, said, mode="strict", scheme=IOB2, zero_division=0, output_dict=True
        )
        if wanted
        else {}
    )
    for name, score in metrics["per_class"].items():
        theirs = report.get(name, {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 0})
        assert score["support"] == theirs["support"]
        if score["support"]:
            assert (score["precision"], score["recall"], score["f1"]) == pytest.approx(
                (theirs["precision"], theirs["recall"], theirs["f1-score"])
            )
    assert sum(metrics["errors"].values()) == sum(len(task.errors(seen)) for seen in outcomes)


def test_proposed_are_the_places_of_the_best_and_the_second_reading() -> None:
    torn, uncertain = [0.05, 0.6, 0.01, 0.33, 0.01], [0.5, 0.02, 0.02, 0.45, 0.01]
    assert TASK.proposed([sure("O"), torn, sure("O"), None]) == (
        (1, 2),
    )  # the second-best sequence has another type here
    assert TASK.proposed([sure("O"), torn, uncertain, None]) == ((1, 2), (2, 3))
    assert TASK.proposed([]) == ()
