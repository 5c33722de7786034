"""The score of the most frequent class of the test set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.records import Label
from tutelage.report.majority_class import majority_metrics
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask

LABELS = [Label(name, name, "") for name in ("ham", "spam", "news")]


def test_accuracy_is_its_share_and_f1_the_mean_over_the_classes_that_occur() -> None:
    found = majority_metrics(ClassificationTask(LABELS), ["ham"] * 88 + ["spam"] * 12)
    assert found == {
        "label": "ham",
        "accuracy": pytest.approx(0.88),
        "macro_f1": pytest.approx((2 * 0.88 / 1.88 + 0) / 2),
    }


@given(st.lists(st.sampled_from(["ham", "spam", "news"]), min_size=1))
def test_no_other_constant_answer_is_right_more_often(targets: list[str]) -> None:
    found = majority_metrics(ClassificationTask(LABELS), targets)
    assert found is not None
    shares = [targets.count(label.name) / len(targets) for label in LABELS]
    assert found["accuracy"] == pytest.approx(max(shares))


def test_entities_and_an_empty_test_set_have_none() -> None:
    assert majority_metrics(NerTask(LABELS), ["[]"]) is None
    assert majority_metrics(ClassificationTask(LABELS), []) is None
