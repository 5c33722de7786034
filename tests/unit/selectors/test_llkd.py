"""LLKD's thresholds, gates and weights against a slow, obvious reference, and edge cases."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.selectors.llkd_reference import CLASSES, NAN, OUTPUTS, Batch, Reference, epoch, step

from tutelage.errors import ConfigError
from tutelage.selectors.llkd import LLKD, SLACK

CONFIDENCE = st.sampled_from([1 / 3, 0.5, 0.7, 0.9, 1.0, NAN]) | st.floats(1 / 3, 1)
"""Often equal, so that many rows are exactly at their threshold."""
DISTRIBUTION = (
    st.lists(st.integers(0, 4), min_size=OUTPUTS, max_size=OUTPUTS)
    .filter(any)
    .map(lambda row: [n / sum(row) for n in row])
)
HOW = st.fixed_dictionaries(
    {
        "combine": st.sampled_from(["product", "sum", "mix", "none"]),
        "alpha": st.sampled_from([0.0, 0.3, 1.0]),
        "uncertainty": st.sampled_from(["entropy", "least_confidence", "margin"]),
        "class_by": st.sampled_from(["teacher", "student"]),
        "teacher_gate": st.booleans(),
        "student_gate": st.booleans(),
        "per_class": st.booleans(),
        "start": st.sampled_from(["means", "uniform"]),
        "normaliser": st.sampled_from(["kept", "weights", "batch"]),
        "refill": st.booleans(),
    }
)


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    found = []
    for _ in range(draw(st.integers(1, 5))):
        size = draw(st.integers(1, 6))
        confidence = draw(st.lists(CONFIDENCE, min_size=size, max_size=size))
        groups = draw(st.lists(st.integers(0, CLASSES - 1), min_size=size, max_size=size))
        student = draw(
            st.lists(DISTRIBUTION | st.just([NAN] * OUTPUTS), min_size=size, max_size=size)
        )
        gold = draw(st.sets(st.integers(0, size - 1), max_size=2))
        found.append(
            Batch(
                [1.0 if index in gold else c for index, c in enumerate(confidence)],
                groups,
                student,
                tuple(gold),
            )
        )
    return found


@settings(max_examples=200, deadline=None)
@given(batches(), st.sampled_from([0.0, 0.5, 0.95, 0.99]), HOW)
def test_it_is_the_formula(steps: list[Batch], m: float, how: dict[str, Any]) -> None:
    ours, slow = LLKD(momentum=m, **how), Reference(m, how)
    assert (ours.normaliser, ours.refill) == (how["normaliser"], how["refill"]), (
        "the student divides and gathers"
    )
    indices = [
        (number, index) for number, one in enumerate(steps) for index in range(len(one.groups))
    ]
    ours.begin(
        epoch(
            [steps[number].confidence[index] for number, index in indices],
            [steps[number].groups[index] for number, index in indices],
            tuple(at for at, (number, index) in enumerate(indices) if index in steps[number].gold),
        )
    )
    slow.begin(steps)
    for one in steps:
        weights = ours.weigh(
            step(one.confidence, one.groups, one.student, one.gold, predicted=one.predicted)
        ).weights
        assert weights == pytest.approx(slow.weigh(one), abs=1e-9)


def test_rows_at_their_threshold_pass_whatever_rounding_makes_of_it() -> None:
    selector = LLKD(combine="none")
    selector.begin(epoch([0.7] * 6, [0, 0, 0, 1, 1, 1]))
    for _ in range(12):
        weighed = selector.weigh(step([0.7] * 6, [0, 0, 0, 1, 1, 1], [[0.6, 0.3, 0.1]] * 6))
        assert weighed.weights.tolist() == [1.0] * 6
    below = 0.7 * (1 - 10 * SLACK)
    assert selector.weigh(step([0.7, below], [0, 0], [[0.6, 0.3, 0.1]] * 2)).weights.tolist() == [
        1.0,
        0.0,
    ]


def test_a_row_s_score_is_what_it_would_weigh_whether_it_passes_or_not() -> None:
    weighed = LLKD(uncertainty="least_confidence").weigh(
        step([0.9, 0.3, 1.0], [0, 0, 0], [[0.6, 0.3, 0.1]] * 3, gold=(2,))
    )
    assert weighed.scores == pytest.approx([0.36, 0.12, NAN], nan_ok=True)
    assert weighed.weights == pytest.approx([0.36, 0.0, 1.0])


def test_a_row_without_numbers_is_left_out_and_the_averages_of_the_others_go_on() -> None:
    student, lost = [0.5, 0.3, 0.2], [NAN, 0.5, 0.5]
    for start in ("means", "uniform"):
        plain, broken = LLKD(start=start, momentum=0.5), LLKD(start=start, momentum=0.5)
        plain.begin(epoch([0.8, 0.6], [0, 1]))
        broken.begin(epoch([0.8, NAN, 0.6, math.inf], [0, 0, 1, 2]))
        for sure in (0.9, 0.7):
            wanted = plain.weigh(step([sure, 0.6], [0, 1], [student] * 2))
            found = broken.weigh(
                step([NAN, sure, 0.99, 0.6], [0, 0, 2, 1], [student, student, lost, student])
            )
            assert found.weights[[1, 3]].tolist() == wanted.weights.tolist()
            assert found.weights[[0, 2]].tolist() == [0.0, 0.0]
            assert found.report == wanted.report
        nothing = broken.weigh(step([NAN, 1.0], [0, 2], [student] * 2, gold=(1,)))
        assert (nothing.weights.tolist(), nothing.report) == ([0.0, 1.0], wanted.report)


def test_gates_that_are_off_do_not_let_a_row_without_numbers_pass() -> None:
    selector = LLKD(teacher_gate=False, student_gate=False, combine="none")
    one = step([NAN, 0.5, 0.5], [0, 0, 0], [[0.5, 0.3, 0.2], [math.inf, 0.0, 0.0], [0.5, 0.3, 0.2]])
    assert selector.weigh(one).weights.tolist() == [0.0, 0.0, 1.0]


def test_thresholds_survive_a_checkpoint() -> None:
    steps = [
        ([0.9, 0.5], [0, 1], [[0.4, 0.3, 0.3], [0.8, 0.1, 0.1]]),
        ([0.7, 0.6], [1, 0], [[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]]),
    ]
    whole, first, second = LLKD(), LLKD(), LLKD()
    for one in (whole, first):
        one.begin(epoch([0.9, 0.5, 0.7], [0, 1, 1]))
        one.weigh(step(*steps[0]))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.begin(
        epoch([0.1, 0.1], [0, 1])
    )  # already started, so the means of a later epoch change nothing
    assert second.weigh(step(*steps[1])).report == whole.weigh(step(*steps[1])).report


def test_gold_passes_and_moves_nothing() -> None:
    selector = LLKD()
    selector.begin(epoch([1.0, 0.6], [0, 1], gold=(0,)))
    before = selector.weigh(step([0.6], [1], [[0.4, 0.3, 0.3]])).report
    weighed = selector.weigh(step([1.0, 1.0], [0, 2], [[1.0, 0.0, 0.0]] * 2, gold=(0, 1)))
    assert weighed.weights.tolist() == [1.0, 1.0]
    assert weighed.report == before
    assert before["tau_teacher"] == [None, 0.6, None]


def test_the_student_may_say_whose_thresholds_a_row_is_measured_by() -> None:
    selector = LLKD(momentum=0.5, class_by="student")
    selector.begin(epoch([0.8, 0.4], [0, 1]))
    report = selector.weigh(
        step([0.8, 0.4], [0, 1], [[0.1, 0.1, 0.8], [0.2, 0.2, 0.6]], predicted=[2, 2])
    ).report
    # g = 0.6 before and after; a(2) = 0.6 belongs to the only class.
    assert report["tau_teacher"] == [None, None, pytest.approx(0.6)]
    assert report["tau_student"][:2] == [None, None]


def test_a_class_that_nobody_predicts_has_no_threshold_and_a_new_one_begins_at_its_first_mean() -> (
    None
):
    selector = LLKD(momentum=0.5, start="means")
    selector.begin(epoch([0.8, 0.8], [0, 0]))
    first = selector.weigh(step([0.8], [0], [[0.5, 0.25, 0.25]])).report
    assert first["tau_teacher"][1:] == [None, None]
    second = selector.weigh(step([0.4], [2], [[0.5, 0.25, 0.25]])).report
    # g = (0.8 + 0.4) / 2 = 0.6, a(0) = 0.8, a(2) = 0.4
    assert second["tau_teacher"] == [0.6, None, pytest.approx(0.3)]


def test_a_student_that_is_sure_of_everything_has_thresholds_of_zero() -> None:
    selector = LLKD(combine="none")
    weighed = selector.weigh(step([0.9, 0.8], [0, 0], [[1.0, 0.0, 0.0]] * 2))
    assert weighed.report["tau_student"] == [0.0, None, None]
    assert weighed.weights.tolist() == [1.0, 0.0]


def test_freematchs_start_passes_everything_for_long() -> None:
    selector = LLKD(momentum=0.999, start="uniform", combine="none")
    assert not selector.needs
    for _ in range(50):
        weights = selector.weigh(step([0.9, 0.5, 0.4], [0, 1, 2], [[0.34, 0.33, 0.33]] * 3)).weights
        assert weights.tolist() == [1.0, 1.0, 1.0]


def test_the_words_of_a_sentence_are_averaged_and_its_least_entity_may_count() -> None:
    sure, uncertain = [1.0, 0.0, 0.0], [1 / 3] * 3
    one = step(
        [0.9, 0.5],
        [3, 1],
        [sure, uncertain, uncertain],
        owners=[0, 0, 1],
        least=[0.2, 0.5],
        classes=4,
    )
    assert LLKD(teacher_gate=False, student_gate=False).weigh(one).weights == pytest.approx(
        [0.9 * 0.5, 0.5]
    )
    assert LLKD(teacher_gate=False, student_gate=False, confidence="least").weigh(
        one
    ).weights == pytest.approx([0.2 * 0.5, 0.5])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1000) | st.just(500), st.integers(0, CLASSES - 1)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([0.07, 0.25, 0.5, 1.0]),
    st.booleans(),
)  # fmt: skip
def test_the_teachers_gate_may_pass_a_fixed_share_of_each_class(
    rows: list[tuple[int, int]], share: float, per_class: bool
) -> None:
    confidence, groups = [number / 1000 for number, _ in rows], [key for _, key in rows]
    selector = LLKD(
        teacher_share=share,
        per_class=per_class,
        student_gate=False,
        combine="none",
        start="uniform",
    )
    selector.begin(epoch(confidence, groups))
    weighed = selector.weigh(step(confidence, groups, [[0.5, 0.3, 0.2]] * len(groups)))
    indices = range(len(rows))
    for group in (
        [[index for index in indices if groups[index] == key] for key in range(CLASSES)]
        if per_class
        else [list(indices)]
    ):
        # The exact share; among ties, the earlier rows.
        surest = sorted(group, key=lambda index: (-confidence[index], index))[
            : math.ceil(round(share * len(group), 9))
        ]
        assert [index for index in group if weighed.weights[index]] == sorted(surest)
        for key in {groups[index] for index in group}:
            assert weighed.report["tau_teacher"][key] == confidence[surest[-1]]


def test_a_fixed_share_is_not_exceeded_by_equally_sure_rows() -> None:
    selector = LLKD(teacher_share=0.25, student_gate=False, combine="none")
    selector.begin(epoch([0.7] * 8, [0] * 8))
    assert (
        selector.weigh(step([0.7] * 8, [0] * 8, [[0.5, 0.3, 0.2]] * 8)).weights.tolist()
        == [1.0, 1.0] + [0.0] * 6
    )


def test_a_fixed_share_is_that_of_the_epoch_and_gold_counts_in_it_for_nothing() -> None:
    selector = LLKD(teacher_share=0.5, student_gate=False)
    assert selector.needs
    student = [[0.5, 0.25, 0.25]] * 3
    selector.begin(epoch([0.9, 0.4, NAN], [0, 0, 0]))
    assert (selector.weigh(step([0.9, 0.4, NAN], [0, 0, 0], student)).weights > 0).tolist() == [
        True,
        False,
        False,
    ]
    selector.begin(epoch([1.0, 0.4, 0.8], [0, 0, 0], gold=(0,)))
    weighed = selector.weigh(step([1.0, 0.4, 0.8], [0, 0, 0], student, gold=(0,)))
    assert (weighed.weights > 0).tolist() == [True, False, True]
    assert weighed.report["tau_teacher"] == [0.8, None, None]
    assert selector.state_dict()["teacher"]["classes"] == [], "no gate reads the moving averages"


def test_a_fixed_share_needs_to_have_seen_the_epoch() -> None:
    with pytest.raises(RuntimeError, match=r"LLKD\.weigh was called before begin"):
        LLKD(teacher_share=0.5).weigh(step([0.5], [0], [[0.5, 0.3, 0.2]]))


@pytest.mark.parametrize(
    ("changes", "predicted"),
    [
        (
            {"teacher_share": 0.0},
            r"select.teacher_share=0.0 must be above 0 and at most 1, or null",
        ),
        ({"momentum": 1.5}, r"select.momentum=1.5 must be in \[0, 1\]"),
        ({"alpha": -1.0}, r"select.alpha=-1.0 must be in"),
        ({"combine": "produkt"}, r"Did you mean 'product'"),
        ({"class_by": "teachers"}, r"Did you mean 'teacher'"),
        ({"uncertainty": "entropi"}, r"Did you mean 'entropy'"),
        ({"normaliser": "batches"}, r"Did you mean 'batch'"),
        ({"start": "mean"}, r"Did you mean 'means'"),
    ],
)
def test_unknown_values_are_refused(changes: dict[str, Any], predicted: str) -> None:
    with pytest.raises(ConfigError, match=predicted):
        LLKD(**changes)
