"""Our acquire selectors against scikit-activeml: equal scores, choices and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import Badge as TheirBadge
from skactiveml.pool import CoreSet, average_kl_divergence, uncertainty_scores
from skactiveml.utils import MISSING_LABEL
from tests.helpers.pool_views import ArrayView, random_view

from tutelage.selectors.distances import Distances
from tutelage.selectors.diversity import Badge, KCenter, errors_of
from tutelage.selectors.measures import mutual_information, uncertainty_of
from tutelage.selectors.protocol import Uncertainty
from tutelage.selectors.uncertainty_sampling import UncertaintySampling

SEEDS = range(8)
THEIRS: dict[Uncertainty, tuple[str, float]] = {
    "entropy": ("entropy", float(np.log(4))),
    "least_confidence": ("least_confident", 1.0),
    "margin": ("margin_sampling", 1.0),
}
"""scikit-activeml's name, and the divisor turning its scores into ours, for four classes."""


class Told(SkactivemlClassifier):  # type: ignore[misc]
    """Returns the given probabilities, and the rows themselves as embeddings."""

    def __init__(
        self, probabilities: Any = None, classes: Any = None, missing_label: Any = MISSING_LABEL
    ) -> None:
        super().__init__(classes=classes, missing_label=missing_label)
        self.probabilities = probabilities

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Told:
        return self

    def predict_proba(self, X: Any) -> Any:
        return self.probabilities


def double(view: ArrayView) -> tuple[np.ndarray, np.ndarray]:
    probabilities = view.probabilities().astype(np.float64)
    return probabilities / probabilities.sum(axis=1, keepdims=True), view.embeddings().astype(
        np.float64
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", THEIRS)
def test_uncertainties_are_theirs(kind: Uncertainty, seed: int) -> None:
    view = random_view(300, seed=seed)
    method, scale = THEIRS[kind]
    probabilities, _ = double(view)
    theirs = uncertainty_scores(probabilities, method=method) / scale
    np.testing.assert_allclose(uncertainty_of(probabilities, kind), theirs, atol=1e-9)
    found = UncertaintySampling(kind).query(view, 25, np.random.default_rng(0))
    np.testing.assert_allclose(found.scores, np.sort(theirs)[::-1][:25], atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_greedy_core_set_is_theirs(seed: int) -> None:
    view = random_view(120, labelled=4, seed=seed)
    _, rows = double(view)
    labelled = view.labelled_embeddings().astype(np.float64)
    marks = np.concatenate([np.full(120, MISSING_LABEL), np.zeros(4)])
    theirs, distances = CoreSet(random_state=0).query(
        np.vstack([rows, labelled]), marks, batch_size=15, return_utilities=True
    )
    found = KCenter().query(view, 15, np.random.default_rng(0))
    assert found.indices.tolist() == theirs.tolist()
    np.testing.assert_allclose(
        found.scores, [row[index] for row, index in zip(distances, theirs, strict=True)], rtol=1e-3
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_badge_begins_where_theirs_does_and_gives_every_text_the_same_chance(seed: int) -> None:
    view = random_view(80, seed=seed)
    probabilities, rows = double(view)
    marks = np.full(80, MISSING_LABEL)
    told = Told(probabilities, classes=list(range(4)))
    theirs, chances = TheirBadge(random_state=seed).query(
        rows, marks, told, fit_clf=False, batch_size=8, return_utilities=True
    )
    assert Badge().query(view, 1, np.random.default_rng(0)).indices.tolist() == [theirs[0]]
    distances = Distances(errors_of(view.probabilities()), view.embeddings())
    nearest = distances.norms
    for turn, index in enumerate(theirs[:-1]):
        # scikit-activeml keeps the origin as a first centre, and so the lengths; ours, like the
        # authors' code, does not.
        nearest = np.minimum(nearest, distances.to_row(index))
        expected = np.nan_to_num(chances[turn + 1])
        np.testing.assert_allclose(nearest / nearest.sum(), expected, atol=2e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_disagreement_of_dropout_masks_is_their_divergence_of_a_committee(seed: int) -> None:
    """H(mean) - mean H equals the members' mean Kullback-Leibler divergence from their mean."""
    members = np.stack(
        [double(random_view(200, seed=100 * seed + member))[0] for member in range(5)]
    )
    members = 0.996 * members + 0.001  # scikit-activeml raises probabilities to at least 1e-7
    entropies = -(members * np.log(members)).sum(axis=2)
    ours = mutual_information(members.mean(axis=0), entropies.mean(axis=0))
    assert ours.max() > 0.1
    np.testing.assert_allclose(ours, average_kl_divergence(members), atol=1e-12)
