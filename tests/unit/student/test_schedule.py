"""The learning rate follows the progress of a stage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.student.schedule import RateSchedule
from tutelage.timeline import Position


def test_a_position_knows_its_last_epoch_and_its_progress() -> None:
    assert not Position("round", 2, 1, 3).last
    assert Position("round", 2, 2, 3).last
    assert Position("start", 0, 0, 2).progress(0, 4) == 0.0
    assert Position("start", 0, 1, 2).progress(2, 4) == 0.75
    assert Position("start", 0, 0, 1).progress(0, 0) == 0.0


def test_linear_rises_and_falls_to_the_floor() -> None:
    factor = RateSchedule("linear", warmup=0.2, floor=0.1).factor
    assert [round(factor(index), 3) for index in (0.0, 0.1, 0.2, 0.6, 1.0)] == [
        0.05,
        0.5,
        1.0,
        0.55,
        0.1,
    ]


def test_constant_stays() -> None:
    factor = RateSchedule("constant", warmup=0.1).factor
    assert [factor(index) for index in (0.1, 0.5, 1.0)] == [1.0] * 3


def test_no_warmup_starts_at_the_top() -> None:
    assert RateSchedule("linear", warmup=0.0, floor=1.0).factor(0.0) == 1.0


@given(
    st.sampled_from(["constant", "linear"]),
    st.floats(0, 0.99),
    st.floats(0.01, 1),
    st.integers(1, 6),
    st.integers(1, 9),
)
def test_a_stage_always_learns_and_never_faster_than_its_rate(
    shape: str, warmup: float, floor: float, epochs: int, batches: int
) -> None:
    schedule = RateSchedule(shape, warmup, floor)  # type: ignore[arg-type]
    indices = [
        Position("round", 1, epoch, epochs).progress(batch, batches)
        for epoch in range(epochs)
        for batch in range(batches)
    ]
    assert indices == sorted(set(indices))
    assert all(0 < schedule.factor(index) <= 1 for index in indices)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": "cosine"}, r"student.schedule.shape=cosine. Give constant or linear"),
        ({"warmup": 1.0}, r"student.schedule.warmup=1.0 must be in"),
        ({"floor": -0.1}, r"student.schedule.floor=-0.1 in"),
    ],
)
def test_what_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RateSchedule(**settings)  # type: ignore[arg-type]
