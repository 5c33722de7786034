"""The probe of written texts, against a slow cross-validation with scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from statsmodels.stats.proportion import proportion_confint

from tutelage.records import derive_seed
from tutelage.student.head_fitting import STRENGTH
from tutelage.student.held_out import FOLDS
from tutelage.student.written_or_real import FEWEST, MOST, Telling, tell_apart

WRITTEN = [f"written {n}" for n in range(34)]
REAL = [f"real {n}" for n in range(57)]


def embed(texts: Sequence[str], apart: float = 0.6) -> NDArray[np.float32]:
    """Noise of length 1, with written texts a little to one side."""
    rows = []
    for text in texts:
        rng = np.random.default_rng(derive_seed("embed", text))
        row = rng.normal(size=6) + apart * text.startswith("written")
        rows.append(row / np.linalg.norm(row))
    return np.array(rows, dtype=np.float32)


def slow(written: Sequence[str], real: Sequence[str], seed: int) -> float:
    """Balanced accuracy of scikit-learn's regression, each text judged by one fitted to others."""
    rng = np.random.default_rng(derive_seed("written or real", seed))
    known = [
        (text, kind, place % FOLDS)
        for kind, texts in enumerate((written, real))
        for place, text in enumerate([texts[at] for at in rng.permutation(len(texts))])
    ]
    truth, found = [], []
    for fold in range(FOLDS):
        rest = [(text, kind) for text, kind, own in known if own != fold]
        held = [(text, kind) for text, kind, own in known if own == fold]
        # Of two classes, each has half of the slope, so the penalty is half of one binary slope's.
        model = LogisticRegression(C=2 * STRENGTH, class_weight="balanced", max_iter=5000, tol=1e-9)
        model.fit(embed([text for text, _ in rest]), [kind for _, kind in rest])
        found += model.predict(embed([text for text, _ in held])).tolist()
        truth += [kind for _, kind in held]
    return float(balanced_accuracy_score(truth, found))


def test_it_is_the_cross_validation_of_scikit_learn() -> None:
    told = tell_apart(WRITTEN, REAL, embed, 3)
    assert told is not None
    assert (told.written, told.real) == (len(WRITTEN), len(REAL))
    assert told.balanced_accuracy == pytest.approx(slow(WRITTEN, REAL, 3), abs=1e-9)
    assert 0.6 < told.balanced_accuracy < 1


def test_texts_that_differ_in_nothing_cannot_be_told_apart() -> None:
    found = []
    for seed in range(12):
        texts = [f"{seed} {n}" for n in range(200)]
        told = tell_apart(texts[:100], texts[100:], embed, seed)
        assert told is not None
        found.append(told.balanced_accuracy)
        assert told.interval[0] < told.balanced_accuracy < told.interval[1]
    assert np.mean(found) == pytest.approx(0.5, abs=0.04)


def test_the_interval_adds_the_squares_of_both_wilson_intervals() -> None:
    told = Telling((0.9, 0.6), 40, 100)
    ends = [
        proportion_confint(round(share * count), count, method="wilson")
        for share, count in ((0.9, 40), (0.6, 100))
    ]
    low = 0.75 - math.hypot(0.9 - ends[0][0], 0.6 - ends[1][0]) / 2
    high = 0.75 + math.hypot(ends[0][1] - 0.9, ends[1][1] - 0.6) / 2
    assert told.interval == pytest.approx((low, high), abs=1e-6)
    assert told.as_dict() == {
        "balanced_accuracy": 0.75,
        "interval": [round(low, 4), round(high, 4)],
        "written": 40,
        "real": 100,
    }


def test_too_few_texts_of_a_kind_give_no_measure() -> None:
    def never(_: Sequence[str]) -> Any:
        raise AssertionError("nothing has to be embedded")

    assert tell_apart(WRITTEN[: FEWEST - 1], REAL, never, 0) is None
    # Copies count once, and texts of both kinds not at all.
    assert tell_apart(WRITTEN[: FEWEST - 1] * 3, REAL, never, 0) is None
    assert tell_apart([*WRITTEN[: FEWEST - 1], *REAL[:9]], REAL, never, 0) is None


def test_many_texts_are_drawn_from() -> None:
    told = tell_apart(WRITTEN, [f"real {n}" for n in range(MOST + 50)], embed, 0)
    assert told is not None
    assert told.real == MOST
