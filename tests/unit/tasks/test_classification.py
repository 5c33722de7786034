"""Targets, decoding and metrics of single-label classification."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from tutelage.errors import DataError
from tutelage.records import ClassScore, Label, LabelDistribution, Outcome, Row
from tutelage.tasks.classification import ClassificationTask

NAMES = ("Animal", "Tool", "Food")
LABELS = tuple(Label(name, name.lower(), name) for name in NAMES)
TASK = ClassificationTask(LABELS)


def outcome(target: str, predicted: str) -> Outcome:
    return Outcome("o", "t", target, predicted, (1.0, 0.0, 0.0), "dev", 0)


def row(target: str, distribution: LabelDistribution | None = None) -> Row:
    return Row("r", "t", target, "easy", 1, True, distribution=distribution)


def test_the_label_space_keeps_its_order() -> None:
    assert TASK.labels == LABELS
    assert [TASK.label_index(name) for name in NAMES] == [0, 1, 2]


def test_the_student_reads_texts_and_any_string_may_be_a_label() -> None:
    assert TASK.model_input("a text") == "a text"
    assert TASK.student_settings == {}
    TASK.check_target("[")
    assert TASK.confusions(outcome("Tool", "Food")) == (("Tool", "Food"),)


def test_an_unknown_label_names_the_nearest() -> None:
    with pytest.raises(
        DataError,
        match=r"Unknown label 'Anmal'\. Did you mean 'Animal'\? Available: Animal, Food, Tool\.",
    ):
        TASK.label_index("Anmal")
    with pytest.raises(DataError, match=r"Unknown label 'zzz'\. Available"):
        TASK.target_vectors(row("zzz"))


def test_the_target_and_the_teacher_s_opinion() -> None:
    opinion = LabelDistribution(NAMES, (0.2, 0.7, 0.1), 0.1)
    assert TASK.target_vectors(row("Animal", opinion)) == [[1.0, 0.0, 0.0]]
    assert TASK.teacher_vectors(row("Animal", opinion)) == [[0.2, 0.7, 0.1]]
    assert TASK.teacher_vectors(row("Food")) == [[0.0, 0.0, 1.0]]
    assert [TASK.group_of(row(name), {}) for name in NAMES] == [0, 1, 2] == list(TASK.output_groups)


def test_the_first_of_equals_is_taken() -> None:
    assert TASK.decode((0.4, 0.4, 0.2)) == "Animal"
    assert TASK.decode((0.2, 0.4, 0.4)) == "Tool"
    assert TASK.decode((1 / 3, 1 / 3, 1 / 3)) == "Animal"


def test_metrics_by_hand() -> None:
    seen = [
        outcome("Animal", "Animal"),
        outcome("Animal", "Tool"),
        outcome("Tool", "Tool"),
        outcome("Tool", "Tool"),
    ]
    metrics = TASK.metrics(seen)
    assert metrics["accuracy"] == 0.75
    assert metrics["per_class"]["Animal"] == pytest.approx(
        {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2}
    )
    assert metrics["per_class"]["Tool"] == pytest.approx(
        {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "support": 2}
    )
    assert metrics["per_class"]["Food"] == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "support": 0,
    }
    # Food was neither present nor predicted, so it does not count in the mean.
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)


def test_nothing_seen_gives_zeros() -> None:
    empty = asdict(ClassScore(0.0, 0.0, 0.0, 0))
    assert TASK.metrics([]) == {
        "accuracy": 0.0,
        "macro_f1": 0.0,
        "per_class": dict.fromkeys(NAMES, empty),
    }


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=1, max_size=30))
def test_metrics_are_those_of_sklearn(pairs: list[tuple[str, str]]) -> None:
    targets, predicted = zip(*pairs, strict=True)
    metrics = TASK.metrics([outcome(*pair) for pair in pairs])
    present = sorted(set(targets) | set(predicted))
    assert metrics["macro_f1"] == pytest.approx(
        f1_score(targets, predicted, average="macro", labels=present, zero_division=0.0)
    )
    assert metrics["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    for name in NAMES:
        score = metrics["per_class"][name]
        assert score["precision"] == pytest.approx(
            precision_score(targets, predicted, labels=[name], average="micro", zero_division=0.0)
        )
        assert score["recall"] == pytest.approx(
            recall_score(targets, predicted, labels=[name], average="micro", zero_division=0.0)
        )
        assert score["support"] == targets.count(name)
