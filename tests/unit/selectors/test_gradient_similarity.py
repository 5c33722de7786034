"""GradientSimilarity: rows whose gradient points in the direction of the gold rows'."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.epoch_views import epoch, kept
from tests.helpers.fitting import Killed, ScriptedMethod, build, run
from tests.helpers.tiny_student import tiny_encoder

from tutelage.errors import ConfigError
from tutelage.selectors.protocol import EpochView
from tutelage.selectors.row_selection import GradientSimilarity

NAN = math.nan
EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


def slow_cosine(one: list[float], other: list[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


def test_rows_that_point_with_the_gold_row_are_kept_whatever_their_length() -> None:
    view = epoch(
        [0] * 5,
        [True, False, False, False, False],
        gradients=[EAST, WEST, (9.0, 9.0), (0.01, 0.0), NORTH],
    )
    assert kept(GradientSimilarity(0.25), view) == [0, 3]
    assert kept(GradientSimilarity(0.5), view) == [0, 2, 3]
    assert kept(GradientSimilarity(0.75), view) == [0, 2, 3, 4]


def test_each_class_is_compared_with_its_own_gold_rows_or_with_all() -> None:
    view = epoch(
        [0, 1, 0, 0, 1, 1, 2, 2],
        [True, True] + [False] * 6,
        gradients=[EAST, WEST, EAST, WEST, EAST, WEST, EAST, NORTH],
    )
    scores = GradientSimilarity().scores(view)
    assert scores[:6].tolist() == [1, 1, 1, -1, -1, 1]
    # Class 2 has no gold rows; the mean over all of them is 0, so the cosine is undefined.
    assert scores[6:].tolist() == [0, 0]
    assert kept(GradientSimilarity(0.5), view) == [0, 1, 2, 5, 6]
    assert kept(GradientSimilarity(0.5, per_class=False), view) == [0, 1, 2, 5, 6]


def test_several_gold_rows_are_averaged() -> None:
    view = epoch(
        [0] * 4, [True, True, False, False], gradients=[EAST, (0.0, 3.0), (1.0, 3.0), (3.0, 1.0)]
    )
    assert GradientSimilarity().scores(view)[2:].tolist() == pytest.approx([1.0, 0.6])


def test_gradients_that_are_no_numbers_rank_last_and_guide_nobody() -> None:
    view = epoch(
        [0] * 4, [True, True, False, False], gradients=[(NAN, NAN), EAST, (NAN, NAN), WEST]
    )
    assert kept(GradientSimilarity(0.5), view) == [0, 1, 3]


@pytest.mark.parametrize(("gold", "first"), [([False, False], EAST), ([True, False], (NAN, NAN))])
def test_without_gold_rows_it_says_that_shots_are_needed(
    gold: list[bool], first: tuple[float, float]
) -> None:
    with pytest.raises(
        ConfigError, match=r"none of this epoch's 2 rows is gold.* Give shots=1 or more"
    ):
        GradientSimilarity().begin(epoch([0, 0], gold, gradients=[first, NORTH]))


def test_a_view_without_gradients_is_a_mistake_of_the_loop() -> None:
    assert GradientSimilarity.needs == {"epoch", "gradients"}
    with pytest.raises(ValueError, match="without gradients"):
        GradientSimilarity().begin(epoch([0], [True]))


@st.composite
def epochs(draw: st.DrawFn) -> tuple[list[int], list[bool], list[list[float]]]:
    groups = draw(st.lists(st.integers(0, 2), min_size=1, max_size=10))
    gold = [
        True,
        *draw(st.lists(st.booleans(), min_size=len(groups) - 1, max_size=len(groups) - 1)),
    ]
    number = st.integers(-4, 4).map(float)
    vectors = st.lists(number, min_size=3, max_size=3)
    return groups, gold, draw(st.lists(vectors, min_size=len(groups), max_size=len(groups)))


@given(epochs())
def test_scores_are_cosines_with_the_mean_gold_gradient(
    rows: tuple[list[int], list[bool], list[list[float]]],
) -> None:
    groups, gold, gradients = rows
    scores = GradientSimilarity().scores(epoch(groups, gold, gradients=gradients))
    for index, key in enumerate(groups):
        guides = [
            vector
            for vector, own, trusted in zip(gradients, groups, gold, strict=True)
            if trusted and own == key
        ]
        guides = guides or [
            vector for vector, trusted in zip(gradients, gold, strict=True) if trusted
        ]
        mean = [sum(column) / len(guides) for column in zip(*guides, strict=True)]
        # Means of integers may miss 0 by the last digit, leaving an arbitrary direction.
        if math.hypot(*mean) > 1e-9 or not any(mean):
            assert scores[index] == pytest.approx(slow_cosine(gradients[index], mean), abs=1e-9)
    assert np.abs(scores).max() <= 1 + 1e-9


def slow_influence(views: list[EpochView], row: str, key: int, form: str) -> float | None:
    """Mean cosine over the checkpoints that have the row and gold rows of the class, by rate."""
    total = rates = 0.0
    for view in views:
        gold = [
            index
            for index in range(len(view.ids))
            if view.gold[index] and key in (-1, view.groups[index])
        ]
        if row not in view.ids or not gold:
            continue
        assert view.gradients is not None
        assert view.updates is not None
        size = len(view.gradients[0])
        mean = [sum(view.gradients[index][k] for index in gold) / len(gold) for k in range(size)]
        ways = view.updates if form == "adam" else view.gradients
        total += view.rate * slow_cosine(ways[view.ids.index(row)].tolist(), mean)
        rates += view.rate
    return total / rates if rates else None


@pytest.mark.parametrize("against", ["class", "any"])
@pytest.mark.parametrize("form", ["plain", "adam"])
@pytest.mark.parametrize("checkpoints", [1, 2, 9])
def test_influence_is_its_formula_over_checkpoints(
    against: str, form: str, checkpoints: int
) -> None:
    rng = np.random.default_rng(checkpoints)
    views: list[EpochView] = []
    settings: Any = {"form": form, "against": against, "checkpoints": checkpoints}
    selector = GradientSimilarity(**settings)
    for epochs in range(4):
        # Rows arrive, and class 2 never has a gold row, class 1 from the third epoch on.
        count = 6 + 3 * epochs
        view = epoch(
            [number % 3 for number in range(count)],
            [number == 0 or (number == 4 and epochs > 1) for number in range(count)],
            gradients=rng.normal(size=(count, 5)),
            updates=rng.normal(size=(count, 5)),
        )
        views.append(replace(view, rate=0.1 / (epochs + 1)))
        selector.begin(views[-1])
        found = selector.scores(views[-1])
        # A resumed run goes on alike.
        resumed = GradientSimilarity(**settings)
        resumed.load_state_dict(json.loads(json.dumps(selector.state_dict())))
        selector = resumed
        for index, row in enumerate(views[-1].ids):
            past = views[-checkpoints:]
            each = [slow_influence(past, row, key, form) for key in range(3)]
            known = [value for value in each if value is not None]
            own = each[views[-1].groups[index]]
            expected = max(known) if against == "any" else own
            if expected is None:
                expected = slow_influence(past, row, -1, form)
            assert found[index] == pytest.approx(expected, abs=1e-9)


def test_a_killed_run_selects_alike(tmp_path: Path, encoder: Path) -> None:
    def fitted(name: str, resume: bool = False, **given: Any) -> Any:
        selector = GradientSimilarity(0.5, form="adam", checkpoints=3, against="any")
        fit = build(
            tmp_path / name,
            encoder,
            ScriptedMethod(2),
            selector=selector,
            window="all",
            resume=resume,
            **given,
        )
        return run(fit, resume=resume)

    whole = fitted("whole")
    with pytest.raises(Killed):
        fitted("killed", explode_at=5)
    resumed = fitted("killed", resume=True)
    assert resumed.lines("selection.jsonl") == whole.lines("selection.jsonl")
    assert resumed.numbers() == whole.numbers()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"checkpoints": 0}, r"select\.checkpoints=0 must"),
        ({"directions": -1}, r"select\.directions=-1 0 or more"),
        ({"form": "adma"}, r"select\.form"),
        ({"against": "all"}, r"select\.against"),
    ],
)
def test_bounds(values: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        GradientSimilarity(**values)
