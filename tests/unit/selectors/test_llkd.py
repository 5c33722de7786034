"""LLKD's thresholds, gates and weights against a slow, obvious reference, and what happens at the edges."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.selectors.llkd import LLKD
from tutelage.selectors.protocol import EpochView, Step

CLASSES, OUTPUTS = 3, 3
Batch = tuple[list[float], list[int], list[list[float]]]


def step(confidence: list[float], keys: list[int], student: list[list[float]], gold: tuple[int, ...] = (), **changes: Any) -> Step:
    return Step(
        ids=tuple(map(str, range(len(keys)))),
        keys=np.array(keys),
        confidence=np.array(confidence),
        least_confidence=np.array(changes.get("least", confidence)),
        gold=np.array([place in gold for place in range(len(keys))]),
        probabilities=np.array(student),
        owners=np.array(changes.get("owners", range(len(keys)))),
        classes=changes.get("classes", CLASSES),
    )


def epoch(confidence: list[float], keys: list[int], gold: tuple[int, ...] = ()) -> EpochView:
    one = step(confidence, keys, [[1.0] * OUTPUTS] * len(keys), gold)
    nothing = np.full(len(keys), np.nan)
    return EpochView(
        one.ids, one.ids, one.keys, one.confidence, one.least_confidence, one.gold,
        np.full((len(keys), OUTPUTS), np.nan), nothing, None, None, CLASSES,
    )  # fmt: skip


class Reference:
    """The formulas of the docstring, one number at a time."""

    def __init__(self, m: float, combine: str, teacher: bool, student: bool, per_class: bool) -> None:
        self.m, self.combine, self.gates, self.per_class = m, combine, (teacher, student), per_class
        self.g: list[float | None] = [None, None]
        self.a: list[dict[int, float]] = [{}, {}]

    def start(self, side: int, values: list[float], keys: list[int]) -> None:
        if self.g[side] is None:
            self.g[side] = sum(values) / len(values)
            for key in set(keys):
                own = [value for value, one in zip(values, keys, strict=True) if one == key]
                self.a[side][key] = sum(own) / len(own)

    def threshold(self, side: int, key: int) -> float:
        g = self.g[side]
        assert g is not None
        if not self.per_class:
            return g
        highest = max(self.a[side].values())
        return g * (self.a[side][key] / highest if highest > 0 else 1.0)

    def weigh(self, confidence: list[float], keys: list[int], student: list[list[float]]) -> list[float]:
        unsure = [-sum(p * math.log(p) for p in row if p > 0) / math.log(len(row)) for row in student]
        for side, values in ((0, confidence), (1, unsure)):
            self.start(side, values, keys)
            g = self.g[side]
            assert g is not None
            self.g[side] = self.m * g + (1 - self.m) * sum(values) / len(values)
            for key in set(keys):
                own = [value for value, one in zip(values, keys, strict=True) if one == key]
                mean = sum(own) / len(own)
                self.a[side][key] = self.m * self.a[side][key] + (1 - self.m) * mean if key in self.a[side] else mean
        weights = []
        for c, u, key in zip(confidence, unsure, keys, strict=True):
            # The last digits of two ways to add up may differ; a value at its own threshold passes in both.
            kept = (not self.gates[0] or c >= self.threshold(0, key) - 1e-12) and (not self.gates[1] or u >= self.threshold(1, key) - 1e-12)
            weights.append({"product": c * u, "sum": c + u, "mix": 0.5 * c + 0.5 * u, "none": 1.0}[self.combine] if kept else 0.0)
        return weights


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.integers(1, 6))
        # A grid that no moving average falls on by chance, so that the two ways of adding up agree on every gate.
        confidence = draw(st.lists(st.integers(334, 1000).map(lambda n: n / 1000 + 1e-5 * (n % 7)), min_size=size, max_size=size))
        keys = draw(st.lists(st.integers(0, CLASSES - 1), min_size=size, max_size=size))
        raw = draw(st.lists(st.lists(st.integers(1, 50), min_size=OUTPUTS, max_size=OUTPUTS), min_size=size, max_size=size))
        found.append((confidence, keys, [[value / sum(row) for value in row] for row in raw]))
    return found


@settings(max_examples=60, deadline=None)
@given(
    batches(), st.sampled_from([0.0, 0.5, 0.99]), st.sampled_from(["product", "sum", "mix", "none"]), st.booleans(), st.booleans(), st.booleans()
)  # fmt: skip
def test_it_is_the_formula(steps: list[Batch], m: float, combine: Any, teacher: bool, student: bool, per_class: bool) -> None:
    ours = LLKD(momentum=m, combine=combine, teacher_gate=teacher, student_gate=student, per_class=per_class)
    slow = Reference(m, combine, teacher, student, per_class)
    everything = [value for one in steps for value in one[0]], [key for one in steps for key in one[1]]
    ours.begin(epoch(*everything))
    slow.start(0, *everything)
    for one in steps:
        wanted = slow.weigh(*one)
        weights = ours.weigh(step(*one)).weights
        assert weights == pytest.approx(wanted, abs=1e-9)


def test_thresholds_survive_a_checkpoint() -> None:
    steps = [([0.9, 0.5], [0, 1], [[0.4, 0.3, 0.3], [0.8, 0.1, 0.1]]), ([0.7, 0.6], [1, 0], [[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])]
    whole, first, second = LLKD(), LLKD(), LLKD()
    for one in (whole, first):
        one.begin(epoch([0.9, 0.5, 0.7], [0, 1, 1]))
        one.weigh(step(*steps[0]))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.begin(epoch([0.1, 0.1], [0, 1]))  # it has begun already, so a later epoch's means change nothing
    assert second.weigh(step(*steps[1])).report == whole.weigh(step(*steps[1])).report


def test_gold_passes_and_moves_nothing() -> None:
    selector = LLKD()
    selector.begin(epoch([1.0, 0.6], [0, 1], gold=(0,)))
    before = selector.weigh(step([0.6], [1], [[0.4, 0.3, 0.3]])).report
    weighed = selector.weigh(step([1.0, 1.0], [0, 2], [[1.0, 0.0, 0.0]] * 2, gold=(0, 1)))
    assert weighed.weights.tolist() == [1.0, 1.0]
    assert weighed.report == before
    assert before["tau_teacher"] == [None, 0.6, None]


def test_a_class_that_nobody_predicts_has_no_threshold_and_a_new_one_begins_at_its_first_mean() -> None:
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
    sure, unsure = [1.0, 0.0, 0.0], [1 / 3] * 3
    one = step([0.9, 0.5], [3, 1], [sure, unsure, unsure], owners=[0, 0, 1], least=[0.2, 0.5], classes=4)
    assert LLKD(teacher_gate=False, student_gate=False).weigh(one).weights == pytest.approx([0.9 * 0.5, 0.5])
    assert LLKD(teacher_gate=False, student_gate=False, confidence="least").weigh(one).weights == pytest.approx([0.2 * 0.5, 0.5])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, CLASSES - 1)), min_size=1, max_size=30, unique_by=lambda pair: pair[0]),
    st.sampled_from([0.07, 0.25, 0.5, 1.0]),
    st.booleans(),
)  # fmt: skip
def test_the_teachers_gate_may_pass_a_fixed_share_of_each_class(rows: list[tuple[int, int]], share: float, per_class: bool) -> None:
    confidence, keys = [number / 1000 for number, _ in rows], [key for _, key in rows]
    selector = LLKD(teacher_share=share, per_class=per_class, student_gate=False, combine="none", start="uniform")
    selector.begin(epoch(confidence, keys))
    weighed = selector.weigh(step(confidence, keys, [[0.5, 0.3, 0.2]] * len(keys)))
    for group in [[one for one in rows if one[1] == key] for key in range(CLASSES)] if per_class else [rows]:
        surest = sorted(group, reverse=True)[: math.ceil(round(share * len(group), 9))]
        assert {one for one, weight in zip(rows, weighed.weights, strict=True) if weight and one in group} == set(surest)
        for key in {key for _, key in group}:
            assert weighed.report["tau_teacher"][key] == surest[-1][0] / 1000


def test_a_fixed_share_is_that_of_the_epoch_and_gold_counts_in_it_for_nothing() -> None:
    selector = LLKD(teacher_share=0.5, student_gate=False)
    assert selector.needs
    selector.begin(epoch([0.9, 0.4], [0, 0]))
    student = [[0.5, 0.25, 0.25]] * 2
    assert (selector.weigh(step([0.9, 0.8], [0, 0], student)).weights > 0).tolist() == [True, False]
    selector.begin(epoch([1.0, 0.8, 0.4], [0, 0, 0], gold=(0,)))
    assert (selector.weigh(step([0.9, 0.8], [0, 0], student)).weights > 0).tolist() == [True, True]
    assert selector.weigh(step([0.3], [2], student[:1])).report["tau_teacher"] == [0.8, None, None]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teacher_share": 0.0}, r"selector.teacher_share=0.0 must be above 0 and at most 1, or null"),
        ({"momentum": 1.5}, r"selector.momentum=1.5 must be in \[0, 1\]"),
        ({"alpha": -1.0}, r"selector.alpha=-1.0 must be in"),
        ({"combine": "produkt"}, r"Did you mean 'product'"),
        ({"uncertainty": "entropi"}, r"Did you mean 'entropy'"),
        ({"normaliser": "batches"}, r"Did you mean 'batch'"),
        ({"start": "mean"}, r"Did you mean 'means'"),
    ],
)
def test_unknown_values_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        LLKD(**changes)
