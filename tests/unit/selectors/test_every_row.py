"""EveryRow: no row is left out."""

from __future__ import annotations

from tests.helpers.epoch_views import batch, epoch

from tutelage.selectors.row_selection import EveryRow


def test_every_row_weighs_one() -> None:
    selector = EveryRow()
    weighed = selector.weigh(
        batch(epoch([0, 1, 1], gold=[True, False, False], confidence=[1, 0, float("nan")]))
    )
    assert weighed.weights.tolist() == [1.0, 1.0, 1.0]
    assert weighed.report == {}
    assert selector.weigh(batch(epoch([]))).weights.shape == (0,)


def test_it_needs_nothing() -> None:
    selector = EveryRow()
    assert (selector.stage, selector.needs, selector.normaliser, selector.refill) == (
        "train",
        frozenset(),
        "weights",
        False,
    )
    selector.load_state_dict(selector.state_dict())
    assert selector.state_dict() == {}
