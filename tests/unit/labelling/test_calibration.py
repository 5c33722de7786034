"""Calibration: the bias that each kind removes, and the scores it leaves alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tutelage.errors import ConfigError
from tutelage.labelling.calibration import (
    BatchCalibration,
    ContextualCalibration,
    NoCalibration,
    PriorMatching,
    TemperatureCalibration,
)
from tutelage.labelling.calibration_prior import Array, softmax
from tutelage.labelling.calibration_tracking import PriorTracking

BIAS = np.array([1.5, -0.5, -2.0])
SCORES = arrays(np.float64, st.tuples(st.integers(2, 12), st.just(3)), elements=st.floats(-20, 0))


def pool(
    shares: list[float], signal: float, count: int, seed: int, noise: float = 1.0
) -> tuple[Array, Any]:
    """Returns log-probabilities of texts by a biased teacher, and the classes of the texts."""
    dice = np.random.default_rng(seed)
    classes = dice.choice(len(shares), size=count, p=shares)
    scores = dice.normal(0, 2, len(shares)) + noise * dice.normal(size=(count, len(shares)))
    scores[np.arange(count), classes] += signal
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True), classes


def balanced(bias: Array) -> tuple[Array, Any]:
    classes = np.repeat(np.arange(3), 4)
    return np.where(np.eye(3)[classes] > 0, -0.5, -2.0) + bias, classes


def made(kind: str) -> Any:
    """Returns a calibrator of the given kind, fitted if necessary."""
    scores, classes = pool([1 / 3] * 3, 2.0, 60, 3)
    if kind == "contextual":
        fitted: Any = ContextualCalibration()
        fitted.fit(scores[:3])
    elif kind == "temperature":
        fitted = TemperatureCalibration()
        fitted.fit(scores, classes.tolist())
    else:
        fitted = {
            "none": NoCalibration(),
            "batch": BatchCalibration(),
            "prior": BatchCalibration([0.6, 0.3, 0.1]),
        }.get(kind)
        fitted = fitted or (PriorMatching() if kind == "matched" else BatchCalibration("estimated"))
    return fitted


KINDS = ("none", "contextual", "temperature", "batch", "prior", "estimated", "matched")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(scores=SCORES, shift=st.floats(-30, 30))
def test_rows_sum_to_one_and_a_constant_changes_nothing(
    kind: str, scores: Array, shift: float
) -> None:
    plain = made(kind).transform(scores)
    assert plain.shape == scores.shape
    np.testing.assert_allclose(plain.sum(axis=1), 1.0)
    assert (plain >= 0).all()
    by_row = shift * np.linspace(-1, 1, len(scores))[:, None]
    np.testing.assert_allclose(
        made(kind).transform(scores + by_row), plain, atol=1e-5 if kind == "estimated" else 1e-9
    )


def test_none_only_normalises() -> None:
    np.testing.assert_allclose(
        NoCalibration().transform(np.log([[0.2, 0.1, 0.1]])), [[0.5, 0.25, 0.25]]
    )


def test_softmax_stands_large_numbers() -> None:
    np.testing.assert_allclose(
        softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]])), [[0.5, 0.5], [0.0, 1.0]]
    )


def test_contextual_divides_by_what_content_free_texts_get() -> None:
    calibrator = ContextualCalibration()
    calibrator.fit(np.log([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]]))
    np.testing.assert_allclose(
        calibrator.transform(np.log([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])),
        [[1 / 3] * 3, [1 / 7, 4 / 7, 2 / 7]],
    )


def test_batch_takes_a_constant_bias_away_exactly_from_balanced_texts() -> None:
    fair, classes = balanced(np.zeros(3))
    biased, _ = balanced(BIAS)
    assert (NoCalibration().transform(biased).argmax(axis=1) != classes).any()
    np.testing.assert_allclose(
        BatchCalibration().transform(biased), NoCalibration().transform(fair), atol=1e-12
    )


def test_the_mean_runs_over_every_batch() -> None:
    scores, _ = pool([1 / 3] * 3, 2.0, 40, 0)
    running, whole = BatchCalibration(), BatchCalibration()
    running.transform(scores[:25])
    later = running.transform(scores[25:])
    np.testing.assert_allclose(later, whole.transform(scores)[25:], atol=1e-12)
    assert np.abs(later - BatchCalibration().transform(scores[25:])).max() > 1e-3


def test_one_late_text_stands_on_the_texts_before_it() -> None:
    calibrator = BatchCalibration()
    calibrator.transform(balanced(BIAS)[0])
    alone = BatchCalibration().transform(balanced(BIAS)[0][:1])
    assert calibrator.transform(balanced(BIAS)[0][:1])[0].argmax() == 0
    np.testing.assert_allclose(alone, [[1 / 3] * 3])


def test_a_given_prior_is_added_back() -> None:
    scores, _ = balanced(BIAS)
    uniform = BatchCalibration().transform(scores)
    expected = uniform * np.array([0.7, 0.2, 0.1])
    given_prior = BatchCalibration([0.7, 0.2, 0.1]).transform(scores)
    np.testing.assert_allclose(given_prior, expected / expected.sum(axis=1, keepdims=True))


def accuracy(prior: Any, scores: Array, classes: Any) -> float:
    return float((BatchCalibration(prior).transform(scores).argmax(axis=1) == classes).mean())


@pytest.mark.parametrize(("signal", "shortfall"), [(2.0, 0.03), (3.0, 0.02), (5.0, 0.02)])
@pytest.mark.parametrize("shares", [[0.8, 0.15, 0.05], [0.85, 0.15], [0.7, *[0.05] * 6]])
def test_an_estimated_prior_on_a_skewed_pool(
    shares: list[float], signal: float, shortfall: float
) -> None:
    figures = []
    for seed in range(4):
        scores, classes = pool(shares, signal, 400, seed)
        figures.append(
            [accuracy(prior, scores, classes) for prior in ("uniform", shares, "estimated")]
        )
    uniform, told, estimated = np.mean(figures, axis=0)
    assert estimated > uniform + 0.05
    assert estimated > told - shortfall


@pytest.mark.parametrize("labels", [2, 3, 7])
def test_an_estimated_prior_costs_little_on_a_balanced_pool(labels: int) -> None:
    shares = [1 / labels] * labels
    figures = [
        [accuracy(prior, *pool(shares, 3.0, 400, seed)) for prior in ("uniform", "estimated")]
        for seed in range(4)
    ]
    uniform, estimated = np.mean(figures, axis=0)
    assert estimated == pytest.approx(uniform, abs=0.015)


def test_an_estimated_prior_goes_over_every_batch() -> None:
    scores, _ = pool([0.8, 0.15, 0.05], 3.0, 400, 1)
    calibrator = BatchCalibration("estimated")
    calibrator.transform(scores[:380])
    np.testing.assert_allclose(
        calibrator.transform(scores[380:]), BatchCalibration("estimated").transform(scores)[380:]
    )


@pytest.mark.parametrize(
    "scores",
    [
        np.log([[0.5, 0.3, 0.2]]),
        np.full((6, 3), -1.0),
        np.tile(np.log([[0.9, 0.05, 0.05]]), (3, 1)),
    ],
)
def test_an_estimated_prior_of_nothing_to_tell_apart_is_even(scores: Array) -> None:
    np.testing.assert_allclose(
        BatchCalibration("estimated").transform(scores), np.full(scores.shape, 1 / 3), atol=1e-2
    )


def test_temperature_learns_from_dev() -> None:
    scores, classes = pool([1 / 3] * 3, 2.0, 300, 5)
    sharp = 4 * (scores + BIAS)  # an overconfident teacher with favourites
    calibrator = TemperatureCalibration()
    calibrator.fit(sharp[:200], classes[:200].tolist())
    gold = classes[200:]

    def loss(probabilities: Array) -> float:
        return float(-np.log(probabilities[np.arange(len(gold)), gold]).mean())

    calibrated, raw = calibrator.transform(sharp[200:]), softmax(sharp[200:])
    assert (calibrated.argmax(axis=1) == gold).mean() > (raw.argmax(axis=1) == gold).mean() + 0.1
    assert loss(calibrated) < 0.5 * loss(raw)


def test_temperature_without_labels_says_what_to_use() -> None:
    for targets in (None, []):
        with pytest.raises(
            ConfigError, match=r"needs labelled dev texts; .* Use calibration=batch"
        ):
            TemperatureCalibration().fit(np.zeros((0, 3)), targets)


@pytest.mark.parametrize("kind", KINDS)
def test_state_goes_through_json_and_back(kind: str) -> None:
    scores, _ = pool([0.6, 0.3, 0.1], 2.0, 50, 9)
    one = made(kind)
    one.transform(scores[:30])
    fresh: Any = (
        type(one)([0.6, 0.3, 0.1])
        if kind == "prior"
        else type(one)("estimated")
        if kind == "estimated"
        else type(one)()
    )
    fresh.load_state_dict(json.loads(json.dumps(one.state_dict())))
    np.testing.assert_array_equal(fresh.transform(scores[30:]), one.transform(scores[30:]))


@pytest.mark.parametrize(
    "empty", [ContextualCalibration, BatchCalibration, PriorMatching, TemperatureCalibration]
)
def test_an_unused_state_goes_back_too(empty: Any) -> None:
    fresh = empty()
    fresh.load_state_dict(json.loads(json.dumps(empty().state_dict())))
    assert fresh.state_dict() == empty().state_dict()


@pytest.mark.parametrize(
    ("calibrator", "message"),
    [(ContextualCalibration(), "content-free"), (TemperatureCalibration(), "dev texts")],
)
def test_an_unfitted_calibrator_says_so(calibrator: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"was not fitted on {message}"):
        calibrator.transform(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("evn", "calibration.prior is 'evn'. Set it to uniform, .*or to a list"),
        ([0.5, 0.6], r"sum to 1 \(it sums to 1.1\)"),
        ([1.0, 0.0], "must be positive"),
        ([1.5, -0.5], "must be positive"),
    ],
)
def test_a_prior_that_cannot_be(prior: Any, message: str) -> None:
    for kind in (BatchCalibration, PriorMatching):
        with pytest.raises(ConfigError, match=message):
            kind(prior)


def test_a_prior_of_another_length() -> None:
    for kind in (BatchCalibration, PriorMatching):
        with pytest.raises(ConfigError, match=r"calibration\.prior has 2 values for 3 labels"):
            kind([0.5, 0.5]).transform(np.zeros((2, 3)))


def masked(scores: Array, hidden: Any) -> Array:
    """Returns scores in which some labels were not scored, but at least one of each text."""
    result = np.where(hidden, -np.inf, scores)
    result[np.isneginf(result).all(axis=1), 0] = -1.0
    return result


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_label_outside_the_shortlist_has_no_probability_and_moves_nothing_else(
    kind: str, data: st.DataObject
) -> None:
    scores = data.draw(SCORES)
    hidden = data.draw(arrays(np.bool_, scores.shape))
    known = masked(scores, hidden)
    calibrator = made(kind)
    for batch in (known, known[:1]):
        result = calibrator.transform(batch)
        assert np.isfinite(result).all()
        np.testing.assert_allclose(result.sum(axis=1), 1.0)
        assert (result[np.isneginf(batch)] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_that_no_text_was_scored_for_is_as_if_it_did_not_exist(kind: str) -> None:
    scores, classes = pool([0.5, 0.5], 2.0, 40, 4)
    wider = np.column_stack([scores, np.full(len(scores), -np.inf)])
    plain, wide = (
        (BatchCalibration([0.7, 0.3]), BatchCalibration([0.6, 3 * 0.6 / 7, 1 - 0.6 - 1.8 / 7]))
        if kind == "prior"
        else tuple(
            type(made(kind))("estimated") if kind == "estimated" else type(made(kind))()
            for _ in range(2)
        )
    )
    for one, fitted in ((plain, scores), (wide, wider)):
        one.fit(fitted, classes.tolist())
    np.testing.assert_allclose(
        wide.transform(wider)[:, :2],
        plain.transform(scores),
        atol=0.05 if kind in ("estimated", "temperature") else 1e-9,
    )


def test_a_text_without_any_scored_label_is_undecided() -> None:
    scores = np.array([[-1.0, -2.0], [-np.inf, -np.inf], [-2.0, -1.0]])
    for kind in ("none", "batch", "matched"):
        np.testing.assert_allclose(made(kind).transform(scores)[1], [0.5, 0.5])
    np.testing.assert_allclose(BatchCalibration("estimated").transform(scores)[1], [0.5, 0.5])


def test_content_free_and_dev_scores_may_lack_labels_too() -> None:
    contextual = ContextualCalibration()
    contextual.fit(np.array([[-0.5, -1.0, -np.inf], [-0.5, -np.inf, -np.inf]]))
    result = contextual.transform(np.array([[-0.5, -1.0, -2.0]]))
    np.testing.assert_allclose(result[0, 0], result[0, 1])
    scores, classes = pool([1 / 3] * 3, 2.0, 60, 3)
    scores[:30, 0] = -np.inf
    temperature = TemperatureCalibration()
    temperature.fit(scores, classes.tolist())
    assert np.isfinite(temperature.transform(scores)).all()


ASKED = [NoCalibration, BatchCalibration, PriorMatching]


@pytest.mark.parametrize("kind", ASKED)
def test_generated_texts_have_the_shares_that_were_asked_for(kind: Any) -> None:
    scores, classes = pool([0.8, 0.15, 0.05], 2.0, 200, 6)
    counts = np.bincount(classes, minlength=3).astype(float)
    told = kind([0.02, *[0.49] * 2], asked=0.99).transform(scores, counts)
    given = kind(0.99 * counts / 200 + 0.01 * np.array([0.02, 0.49, 0.49])).transform(scores)
    np.testing.assert_allclose(told, given, atol=1e-6)
    np.testing.assert_array_equal(
        kind(asked=0.0).transform(scores, counts), kind().transform(scores)
    )
    np.testing.assert_array_equal(kind(asked=0.9).transform(scores), kind().transform(scores))


def test_texts_that_nobody_asked_for_keep_the_prior() -> None:
    scores = np.zeros((4, 2))
    # Two of four texts were asked for, both by the first label: (0.5 · 2 + 3 · 0.5) / 4 = 0.625.
    result = NoCalibration(asked=0.5).transform(scores, np.array([2.0, 0.0]))
    np.testing.assert_allclose(result, [[0.625, 0.375]] * 4)


@pytest.mark.parametrize("kind", [BatchCalibration, PriorMatching])
def test_a_batch_with_other_shares_uses_the_bias_learnt_before(kind: Any) -> None:
    """Texts asked for evenly teach the bias; a batch of one class alone is then recognised."""
    scores, classes = pool([0.5, 0.5], 4.0, 400, 8)
    calibrator = kind(asked=0.9)
    calibrator.transform(scores, np.bincount(classes).astype(float))
    alone = scores[classes == 0][:20]
    blind = kind()
    blind.transform(scores)
    asked = calibrator.transform(alone, np.array([20.0, 0.0]))
    assert (asked.argmax(axis=1) == 0).mean() >= (blind.transform(alone).argmax(axis=1) == 0).mean()
    assert (asked[:, 0] > 0.9).mean() > 0.9


def test_the_shares_of_each_batch_survive_a_checkpoint() -> None:
    scores, _ = pool([0.7, 0.3], 2.0, 60, 9)
    one, fresh = PriorMatching(asked=0.9), PriorMatching(asked=0.9)
    one.transform(scores[:30], np.array([21.0, 9.0]))
    fresh.load_state_dict(json.loads(json.dumps(one.state_dict())))
    np.testing.assert_array_equal(fresh.transform(scores[30:]), one.transform(scores[30:]))
    # Written by a version that knew no shares, and one count for all labels.
    older = PriorMatching()
    older.load_state_dict({"seen": [scores[:30].tolist()]})
    assert np.isfinite(older.transform(scores[30:])).all()
    batch = BatchCalibration()
    batch.load_state_dict({"sum": scores[:30].sum(axis=0).tolist(), "count": 30, "seen": []})
    whole = BatchCalibration()
    whole.transform(scores[:30])
    np.testing.assert_allclose(batch.transform(scores[30:]), whole.transform(scores[30:]))


@pytest.mark.parametrize("asked", [-0.1, 1.0, 1.5])
def test_an_impossible_weight_of_the_asked_classes(asked: float) -> None:
    for kind in [*ASKED, ContextualCalibration]:
        with pytest.raises(ConfigError, match=r"calibration.asked=.* must be at least 0 and below"):
            kind(asked=asked)


def test_an_estimated_prior_is_of_generated_texts_too() -> None:
    with pytest.raises(ConfigError, match=r"calibration.asked=0.9 cannot be used with"):
        BatchCalibration("estimated", asked=0.9)


@pytest.mark.parametrize("kind", [NoCalibration, ContextualCalibration])
def test_a_given_prior_shifts_each_row_by_its_logarithm(kind: Any) -> None:
    scores, _ = balanced(BIAS)
    plain, shifted = kind(), kind([0.7, 0.2, 0.1])
    for one in (plain, shifted):
        one.fit(scores)
    expected = plain.transform(scores) * np.array([0.7, 0.2, 0.1])
    np.testing.assert_allclose(
        shifted.transform(scores), expected / expected.sum(axis=1, keepdims=True)
    )


@pytest.mark.parametrize("kind", [*KINDS, "tracked"])
def test_a_frozen_calibration_gives_each_text_the_same_in_any_batch(kind: str) -> None:
    scores, _ = pool([0.6, 0.3, 0.1], 2.0, 90, 9)
    one = PriorTracking() if kind == "tracked" else made(kind)
    first = one.transform(scores[:30])
    one.freeze()
    np.testing.assert_array_equal(one.transform(scores[:30]), first)
    whole = one.transform(scores)
    pieces = [one.transform(scores[start : start + 7]) for start in range(0, 90, 7)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    # A state that goes back is not frozen until it is told so.
    state = json.loads(json.dumps(one.state_dict()))
    one.load_state_dict(state)
    one.freeze()
    np.testing.assert_array_equal(one.transform(scores), whole)
    one.load_state_dict(state)
    moved = one.transform(scores[60:])
    running = kind in ("batch", "prior", "estimated", "matched", "tracked")
    assert np.allclose(moved, whole[60:], atol=1e-9) is not running


@pytest.mark.parametrize("running", [BatchCalibration, PriorMatching, PriorTracking])
def test_nothing_is_frozen_before_the_first_text(running: Any) -> None:
    with pytest.raises(ConfigError, match="frozen before it saw a text"):
        running().freeze()
