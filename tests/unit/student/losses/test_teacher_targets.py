"""Temperature and off-label mass against a slow reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.loss_targets import EXTREME, LossBatch, loss_batches, targets

from tutelage.errors import ConfigError
from tutelage.student.losses.teacher_targets import TeacherTargets


@settings(max_examples=30, deadline=None)
@given(
    loss_batches(),
    st.sampled_from([0.2, 0.5, 1.0, 3.0]),
    st.sampled_from(["ignore", "uniform", "hard"]),
)
def test_it_is_the_tempered_mixture(
    loss_batch: LossBatch, temperature: float, off_label: str
) -> None:
    made = TeacherTargets(temperature, off_label)(loss_batch.targets)
    for index, _, hard, teacher, off in loss_batch.units():
        powers = [value ** (1 / temperature) for value in teacher]
        p = [value / sum(powers) for value in powers]
        elsewhere = {
            "ignore": p,
            "uniform": [1 / len(p)] * len(p),
            "hard": [float(k == hard) for k in range(len(p))],
        }[off_label]
        assert made[index].tolist() == pytest.approx(
            [(1 - off) * a + off * b for a, b in zip(p, elsewhere, strict=True)], abs=1e-12
        )
        assert float(made[index].sum()) == pytest.approx(1)


@pytest.mark.parametrize("off_label", ["ignore", "uniform", "hard"])
@pytest.mark.parametrize("temperature", [1e-3, 0.1, 1.0, 50.0, 1e6])
def test_zeros_and_tokens_without_a_target_stay_finite(temperature: float, off_label: str) -> None:
    assert TeacherTargets(temperature, off_label)(EXTREME.targets).isfinite().all()


def test_a_low_temperature_of_many_classes_does_not_vanish() -> None:
    teacher = [[0.0199, *[0.01] * 98, 0.0]]
    given = targets([0], 100, teacher=teacher)
    made = TeacherTargets(1e-4)(given)
    assert made.argmax().item() == 0
    assert made.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("off_label", ["ignore", "uniform", "hard"])
def test_gold_stays_gold(off_label: str) -> None:
    gold = targets([2, 0], 3)
    torch.testing.assert_close(TeacherTargets(2.0, off_label)(gold), gold.hard)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_the_temperature_is_positive(temperature: float) -> None:
    with pytest.raises(ConfigError, match=f"loss.temperature={temperature} must be above 0"):
        TeacherTargets(temperature)


def test_an_unknown_place_for_the_mass() -> None:
    with pytest.raises(
        ConfigError, match=r"Unknown loss.off_label 'unifrom'. Did you mean 'uniform'\?"
    ):
        TeacherTargets(1.0, "unifrom")  # type: ignore[arg-type]
