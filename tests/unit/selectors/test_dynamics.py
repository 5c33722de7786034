"""TrainingDynamics: weights from the mean and the deviation of past probabilities."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.epoch_views import batch, epoch

from tutelage.errors import ConfigError
from tutelage.selectors.dynamics import TrainingDynamics, Variability

NAN = math.nan
LOSSES = st.one_of(st.just(NAN), st.floats(0, 20))


def slowly(losses: list[float], variability: str) -> float:
    """The weight of a row from its losses at the start of each epoch, by the formulas."""
    past = [math.exp(-loss) for loss in losses[1:] if not math.isnan(loss)]
    if not past:
        return 1.0
    mean, deviation = statistics.fmean(past), statistics.pstdev(past)
    return max(mean - deviation, 0.0) if variability == "subtract" else mean + deviation


@given(
    st.integers(1, 4).flatmap(
        lambda rows: st.lists(
            st.lists(LOSSES, min_size=rows, max_size=rows), min_size=1, max_size=6
        )
    ),
    st.sampled_from(["auto", "add", "subtract"]),
)
def test_weights_are_the_formulas_epoch_after_epoch(
    epochs: list[list[float]], variability: Variability
) -> None:
    selector = TrainingDynamics(variability)
    for number, losses in enumerate(epochs, start=1):
        view = epoch([0] * len(losses), losses=losses)
        selector.begin(view)
        expected = [
            slowly([one[row] for one in epochs[:number]], variability) for row in range(len(losses))
        ]
        # The square root of a rounding error is larger than the error.
        assert selector.weigh(batch(view)).weights == pytest.approx(expected, abs=1e-7)


@given(
    st.integers(1, 3).flatmap(
        lambda rows: st.lists(
            st.lists(st.tuples(LOSSES, LOSSES), min_size=rows, max_size=rows),
            min_size=1,
            max_size=6,
        )
    ),
    st.sampled_from(["auto", "add", "subtract"]),
)
def test_each_of_two_networks_is_weighted_by_the_past_of_the_other(
    epochs: list[list[tuple[float, float]]], variability: Variability
) -> None:
    selector = TrainingDynamics(variability)
    ways = ("add", "subtract") if variability == "auto" else (variability, variability)
    for number, losses in enumerate(epochs, start=1):
        view = epoch([0] * len(losses), peer_losses=losses)
        selector.begin(view)
        expected = [
            [
                slowly([one[row][other] for one in epochs[:number]], way)
                for other, way in zip((1, 0), ways, strict=True)
            ]
            for row in range(len(losses))
        ]
        weighed = selector.weigh(batch(view))
        assert weighed.peer_weights == pytest.approx(np.array(expected), abs=1e-7)
        assert weighed.weights == pytest.approx(np.mean(expected, axis=1), abs=1e-7)


def test_gold_rows_weigh_1_for_both_networks() -> None:
    selector = TrainingDynamics()
    view = epoch([0, 0], [True, False], peer_losses=[[0.1, 0.2], [3.0, 2.0]])
    for _ in range(2):
        selector.begin(view)
    weights = selector.weigh(batch(view)).peer_weights
    assert weights == pytest.approx(np.array([[1.0, 1.0], [math.exp(-2.0), math.exp(-3.0)]]))


def test_a_row_has_weight_1_until_it_was_learnt_from_for_an_epoch() -> None:
    selector = TrainingDynamics()
    selector.begin(epoch([0], losses=[2.0]))
    assert selector.weigh(batch(epoch([0]))).weights.tolist() == [1.0]
    grown = epoch([0, 0], losses=[1.0, 1.0])
    selector.begin(grown)
    assert selector.weigh(batch(grown)).weights == pytest.approx([math.exp(-1.0), 1.0])


def test_a_row_the_epoch_began_without_is_not_thrown_away() -> None:
    assert TrainingDynamics().weigh(batch(epoch([0, 1]))).weights.tolist() == [1.0, 1.0]


def test_gold_rows_keep_weight_1_and_do_not_enter_the_report() -> None:
    selector = TrainingDynamics()
    view = epoch([0, 0], [True, False], losses=[0.1, 3.0])
    for _ in range(2):
        selector.begin(view)
    weighed = selector.weigh(batch(view))
    assert weighed.weights == pytest.approx([1.0, math.exp(-3.0)])
    assert weighed.report == {
        "confidence": pytest.approx(math.exp(-3.0), abs=1e-6),
        "variability": 0.0,
    }


def test_nothing_is_reported_in_the_first_epoch() -> None:
    view = epoch([0])
    selector = TrainingDynamics()
    selector.begin(view)
    assert selector.weigh(batch(view)).report == {"confidence": None, "variability": None}


@pytest.mark.parametrize("shape", [(3,), (3, 2)], ids=["one network", "two networks"])
def test_a_resumed_run_goes_on_with_the_same_weights(shape: tuple[int, ...]) -> None:
    losses = np.random.default_rng(0).random((5, *shape)) * 3
    name = "losses" if len(shape) == 1 else "peer_losses"
    whole, begun = TrainingDynamics(), TrainingDynamics()
    for own in losses[:3]:
        for selector in (whole, begun):
            selector.begin(epoch([0] * 3, **{name: own}))
    resumed = TrainingDynamics()
    resumed.load_state_dict(json.loads(json.dumps(begun.state_dict())))
    for own in losses[3:]:
        view = epoch([0] * 3, **{name: own})
        for selector in (whole, resumed):
            selector.begin(view)
        ours, theirs = (selector.weigh(batch(view)) for selector in (resumed, whole))
        assert ours.weights.tolist() == theirs.weights.tolist()
        np.testing.assert_array_equal(ours.peer_weights, theirs.peer_weights)


def test_unknown_values_are_named() -> None:
    with pytest.raises(ConfigError, match=r"Unknown select\.variability 'ad'"):
        TrainingDynamics("ad")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"Unknown select\.normaliser 'bach'"):
        TrainingDynamics(normaliser="bach")  # type: ignore[arg-type]
