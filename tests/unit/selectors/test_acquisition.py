"""Properties shared by all acquire selectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tests.helpers.pool_views import ArrayView, random_view

from tutelage.errors import ConfigError
from tutelage.selectors.protocol import Acquired, Acquirer

NAMES = (
    "random",
    "class_balance",
    "entropy",
    "margin",
    "least_confidence",
    "k_means",
    "k_center",
    "badge",
    "dropout",
    "instability",
    "accept_reject",
    "mixed",
)
BY_UNCERTAINTY = (
    *("entropy", "margin", "least_confidence", "dropout", "instability"),
    "accept_reject",
)
IN_FALLING_ORDER = (
    "random",
    "entropy",
    "margin",
    "least_confidence",
    "k_means",
    "k_center",
    "dropout",
    "instability",
    "mixed",
)
CONF = Path(__file__).parents[3] / "conf" / "acquire"


def acquirer(name: str) -> Acquirer:
    found: Acquirer = instantiate(OmegaConf.load(CONF / f"{name}.yaml"))
    return found


def ask(name: str, view: Any, n: int, seed: int = 3) -> Acquired:
    return acquirer(name).query(view, n, np.random.default_rng(seed))


def check(found: Acquired, n: int, total: int) -> None:
    indices = found.indices
    assert indices.dtype == np.int64
    assert found.scores.dtype == np.float64
    assert len(indices) == len(found.scores) == min(n, total)
    assert len(set(indices.tolist())) == len(indices)
    assert all(0 <= index < total for index in indices)
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("name", NAMES)
class TestEvery:
    def test_it_is_of_its_stage_and_chooses_that_many(self, name: str) -> None:
        assert acquirer(name).stage == "acquire"
        check(ask(name, random_view(60, labelled=5), 7), 7, 60)

    def test_it_is_a_pure_function_of_view_and_generator(self, name: str) -> None:
        one, two = (ask(name, random_view(80), 9) for _ in range(2))
        np.testing.assert_array_equal(one.indices, two.indices)
        np.testing.assert_array_equal(one.scores, two.scores)

    def test_it_leaves_the_arrays_of_the_view_alone(self, name: str) -> None:
        view, untouched = random_view(50, labelled=3), random_view(50, labelled=3)
        ask(name, view, 9)
        np.testing.assert_array_equal(view.probabilities(), untouched.probabilities())
        np.testing.assert_array_equal(view.embeddings(), untouched.embeddings())
        np.testing.assert_array_equal(view.labelled_embeddings(), untouched.labelled_embeddings())

    def test_more_than_there_are_is_all(self, name: str) -> None:
        for n in (12, 13, 1000):
            check(ask(name, random_view(12), n), n, 12)

    def test_none_and_an_empty_pool_give_none(self, name: str) -> None:
        check(ask(name, random_view(5), 0), 0, 5)
        check(ask(name, random_view(0), 3), 3, 0)
        check(ask(name, random_view(0, labelled=2), 0), 0, 0)

    def test_a_negative_number_is_refused_with_the_number(self, name: str) -> None:
        for total in (0, 5):
            with pytest.raises(ConfigError, match=r"n=-2 texts; give 0 or more"):
                ask(name, random_view(total), -2)

    def test_one_class_and_a_class_that_nobody_predicts_are_defined(self, name: str) -> None:
        one = ArrayView(np.ones((9, 1)), random_view(9).embeddings())
        check(ask(name, one, 4), 4, 9)
        view = random_view(20)
        padded = ArrayView(np.hstack([view.probabilities(), np.zeros((20, 1))]), view.embeddings())
        check(ask(name, padded, 4), 4, 20)

    def test_a_student_that_is_sure_of_everything_is_defined(self, name: str) -> None:
        view = ArrayView(np.eye(3)[np.arange(30) % 3], random_view(30).embeddings())
        check(ask(name, view, 8), 8, 30)

    def test_texts_that_are_all_alike_are_taken_once_each(self, name: str) -> None:
        view = ArrayView(np.full((15, 3), 1 / 3), np.full((15, 5), 0.7))
        check(ask(name, view, 6), 6, 15)
        check(ask(name, ArrayView(np.full((15, 3), 1 / 3), np.zeros((15, 5))), 6), 6, 15)

    def test_what_is_no_number_comes_last(self, name: str) -> None:
        view = random_view(30)
        probabilities, embeddings = view.probabilities().copy(), view.embeddings().copy()
        probabilities[[0, 4]] = np.nan
        embeddings[[0, 4]] = np.nan
        broken = ArrayView(probabilities, embeddings)
        if name != "random":  # random never looks at the view
            check(ask(name, broken, 28), 28, 30)
            assert not {0, 4} & set(ask(name, broken, 28).indices.tolist())
            assert ask(name, broken, 30).indices[-2:].tolist() == [0, 4]
        check(ask(name, broken, 30), 30, 30)
        check(ask(name, ArrayView(np.full((6, 3), np.nan), np.full((6, 2), np.nan)), 4), 4, 6)

    def test_the_order_of_the_scores(self, name: str) -> None:
        if name in IN_FALLING_ORDER:
            assert (np.diff(ask(name, random_view(90, labelled=4), 25).scores) <= 0).all()


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    total=st.integers(0, 40),
    n=st.integers(0, 50),
    labelled=st.integers(0, 3),
    classes=st.integers(1, 4),
    seed=st.integers(0, 2**16),
    damage=st.integers(0, 5),
)
def test_whatever_the_pool(
    name: str, total: int, n: int, labelled: int, classes: int, seed: int, damage: int
) -> None:
    view = random_view(total, classes=classes, labelled=labelled, seed=seed)
    if total:
        rng = np.random.default_rng(seed)
        view.probabilities()[rng.integers(total, size=damage)] = np.nan
        view.embeddings()[rng.integers(total, size=damage)] = np.inf
        view.embeddings()[rng.integers(total, size=damage)] = view.embeddings()[0]
    check(ask(name, view, n, seed), n, total)


@pytest.mark.parametrize(
    "name",
    ["entropy", "margin", "least_confidence", "dropout", "instability", "k_center", "badge"],
)
def test_ties_go_to_the_earlier_place(name: str) -> None:
    even = ArrayView(np.full((12, 2), 0.5), np.ones((12, 3)), labelled=np.ones((1, 3)))
    assert ask(name, even, 5).indices.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", BY_UNCERTAINTY)
def test_the_uncertain_are_preferred(name: str) -> None:
    probabilities = np.tile([0.999, 0.001], (200, 1))
    uncertain = np.arange(20, 200, 9)
    probabilities[uncertain] = 0.5
    found = ask(name, ArrayView(probabilities, np.ones((200, 2))), 15)
    # accept_reject is random; the others are exact.
    assert len(set(found.indices.tolist()) & set(uncertain.tolist())) >= (
        13 if name == "accept_reject" else 15
    )


@pytest.mark.parametrize("name", ["k_means", "k_center", "badge", "mixed"])
def test_the_choice_is_spread_over_clusters(name: str) -> None:
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(5), [400, 50, 20, 20, 10])
    embeddings = np.eye(5)[cluster] * 20 + rng.normal(size=(500, 5)) * 0.1
    found = ask(name, ArrayView(np.full((500, 3), 1 / 3), embeddings), 5 if name != "mixed" else 50)
    assert set(cluster[found.indices].tolist()) == set(range(5))
