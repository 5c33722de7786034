"""Single acquire selectors against slow, literal versions, and their individual guarantees."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.pool_views import ArrayView, random_view

from tutelage.errors import ConfigError
from tutelage.selectors.class_balance import ClassBalance
from tutelage.selectors.distances import Distances
from tutelage.selectors.diversity import (
    Badge,
    KCenter,
    KMeansSampling,
    Mixed,
    errors_of,
    representatives,
)
from tutelage.selectors.ranking import best_first, with_rest
from tutelage.selectors.uncertainty_sampling import (
    AcceptReject,
    DropoutDisagreement,
    Instability,
    UncertaintySampling,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(
    scores=st.lists(st.one_of(st.integers(0, 3).map(float), st.just(float("nan"))), max_size=20),
    n=st.integers(0, 25),
)
def test_ranking_is_a_stable_sort_with_what_is_no_number_last(scores: list[float], n: int) -> None:
    expected = sorted(
        range(len(scores)),
        key=lambda index: (
            scores[index] != scores[index],
            -scores[index] if scores[index] >= 0 else 0,
        ),
    )
    assert best_first(np.array(scores), n).indices.tolist() == expected[:n]


def test_the_rest_comes_by_place_with_the_lowest_score() -> None:
    found = with_rest(np.array([3, 1]), np.array([2.0, 5.0]), 4, 6)
    assert (found.indices.tolist(), found.scores.tolist()) == ([3, 1, 0, 2], [2, 5, 2, 2])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999))
def test_distances_to_outer_products_are_those_of_the_products_written_down(seed: int) -> None:
    view = random_view(12, seed=seed)
    errors = errors_of(view.probabilities())
    whole = (errors[:, :, None] * view.embeddings()[:, None, :]).reshape(12, -1)
    distances = Distances(errors, view.embeddings())
    for index in (0, 7):
        expected = ((whole - whole[index]) ** 2).sum(axis=1)
        np.testing.assert_allclose(
            distances.to_row(index), expected, atol=2e-5 * float(distances.norms.max())
        )
        assert distances.to_row(index)[index] == 0
    np.testing.assert_allclose(distances.norms, (whole**2).sum(axis=1), rtol=1e-5)


def test_nearest_centres_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, centres = random_view(50).embeddings(), random_view(7, seed=1).embeddings()
    exact = ((rows[:, None] - centres[None]) ** 2).sum(axis=2)
    monkeypatch.setattr("tutelage.selectors.distances._BLOCK", 21)
    distances = Distances(rows)
    np.testing.assert_allclose(distances.to_nearest(centres), exact.min(axis=1), rtol=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), labelled=st.integers(1, 4))
def test_k_center_is_the_greedy_choice(seed: int, labelled: int) -> None:
    view = random_view(25, labelled=labelled, seed=seed)
    found = KCenter().query(view, 6, rng())
    centres = list(view.labelled_embeddings().astype(np.float64))
    for index, score in zip(found.indices, found.scores, strict=True):
        nearest = np.array(
            [
                min(np.linalg.norm(row - centre) for centre in centres)
                for row in view.embeddings().astype(np.float64)
            ]
        )
        assert int(nearest.argmax()) == index
        assert score == pytest.approx(nearest.max(), rel=1e-3)
        centres.append(view.embeddings()[index].astype(np.float64))


def test_k_center_without_labelled_rows_begins_anywhere() -> None:
    firsts = {int(KCenter().query(random_view(10), 2, rng(seed)).indices[0]) for seed in range(60)}
    assert len(firsts) > 6
    alone = KCenter().query(random_view(1), 1, rng())
    assert (alone.indices.tolist(), alone.scores.tolist()) == ([0], [0])


def test_badge_begins_with_the_longest_gradient_and_draws_by_squared_distance() -> None:
    view = random_view(6, seed=5)
    errors = errors_of(view.probabilities())
    whole = (errors[:, :, None] * view.embeddings()[:, None, :]).reshape(6, -1).astype(np.float64)
    first = int((whole**2).sum(axis=1).argmax())
    squared = ((whole - whole[first]) ** 2).sum(axis=1)
    draws = 4000
    counts = np.zeros(6)
    for seed in range(draws):
        indices = Badge().query(view, 2, rng(seed)).indices
        assert indices[0] == first
        counts[indices[1]] += 1
    expected = squared / squared.sum()
    assert np.abs(counts / draws - expected).max() < 4 * np.sqrt(0.25 / draws)


def test_badge_takes_what_the_student_is_sure_of_for_a_single_point() -> None:
    probabilities = np.eye(2)[np.zeros(50, dtype=int)]
    probabilities[[11, 30, 42]] = 0.5
    found = Badge().query(ArrayView(probabilities, random_view(50).embeddings()), 6, rng())
    sure = [index for index in found.indices[:4].tolist() if index not in (11, 30, 42)]
    assert len(sure) == 1
    assert found.scores[4:].tolist() == [0, 0], "no direction is left"
    assert found.indices[4:].tolist() == [0, 1]


def literal_walk(uncertainty: np.ndarray, n: int, rng: np.random.Generator) -> list[int]:
    accepted: list[int] = []
    order = rng.permutation(len(uncertainty))
    while len(accepted) < n:
        for index in order:
            if index not in accepted and rng.random() < uncertainty[index]:
                accepted.append(int(index))
                if len(accepted) == n:
                    break
    return accepted


def test_accept_reject_accepts_like_the_walk_that_it_spares() -> None:
    probabilities = np.array([[p, 1 - p] for p in (0.5, 0.9, 0.97, 0.99, 0.7)])
    view = ArrayView(probabilities, np.ones((5, 2)))
    uncertainty = view.uncertainty("entropy").astype(np.float64)
    draws = 6000
    counts = np.zeros((2, 5, 5))
    generator = rng(1)
    for seed in range(draws):
        for kind, indices in enumerate(
            (
                AcceptReject().query(view, 3, rng(seed)).indices,
                literal_walk(uncertainty, 3, generator),
            )
        ):
            counts[kind, np.arange(3), indices] += 1
    assert np.abs(counts[0] - counts[1]).max() / draws < 4.5 * np.sqrt(0.5 / draws)


def test_accept_reject_ends_with_the_certain_in_random_order() -> None:
    probabilities = np.tile([1.0, 0.0], (40, 1))
    probabilities[7] = 1e-7, 1 - 1e-7
    view = ArrayView(probabilities, np.ones((40, 2)))
    found = [AcceptReject().query(view, 10, rng(seed)).indices for seed in range(20)]
    assert all(indices[0] == 7 for indices in found)
    assert len({int(indices[1]) for indices in found}) > 8
    assert all(one.tolist() != other.tolist() for one, other in pairwise(found))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 12), copies=st.integers(1, 4))
def test_representatives_are_different_rows_even_of_copies(seed: int, n: int, copies: int) -> None:
    rows = np.repeat(random_view(6, seed=seed).embeddings(), copies, axis=0)
    n = min(n, len(rows))
    indices, distances = representatives(rows, n, rng(seed))
    assert len(set(indices.tolist())) == n
    assert (distances >= 0).all()


def test_centres_learnt_from_a_sample_find_rows_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.selectors.diversity._SAMPLE", 60)
    cluster = np.arange(600) % 3
    rows = ((np.eye(3) * 30)[cluster] + rng(2).normal(size=(600, 3))).astype(np.float32)
    found = [
        representatives(rows, 3, rng(seed), weights)[0]
        for seed in range(5)
        for weights in (None, np.ones(600))
    ]
    assert all(sorted(cluster[indices].tolist()) == [0, 1, 2] for indices in found)
    assert len({int(index) for indices in found for index in indices}) > 6


def test_k_means_takes_the_middle_of_each_cluster() -> None:
    generator = rng(2)
    cluster = np.repeat(np.arange(4), 100)
    embeddings = (np.eye(4) * 30)[cluster] + generator.normal(size=(400, 4))
    found = KMeansSampling().query(ArrayView(np.full((400, 2), 0.5), embeddings), 4, rng())
    assert sorted(cluster[found.indices].tolist()) == [0, 1, 2, 3]
    for index in found.indices:
        middle = embeddings[cluster == cluster[index]].mean(axis=0)
        assert np.linalg.norm(embeddings[index] - middle) < 1.5


def test_mixed_chooses_among_the_least_certain_and_with_beta_1_they_are_it() -> None:
    view = random_view(200)
    ranked = UncertaintySampling("margin").query(view, 40, rng()).indices.tolist()
    assert set(Mixed(beta=5).query(view, 8, rng()).indices.tolist()) <= set(ranked)
    assert Mixed(beta=1).query(view, 8, rng()).indices.tolist() == ranked[:8]


def test_settings_out_of_range_are_refused() -> None:
    for make, message in (
        (lambda: Mixed(beta=0), "acquire.beta=0"),
        (lambda: Mixed(kind="margn"), "Did you mean 'margin'"),  # type: ignore[arg-type]
        (lambda: UncertaintySampling("entrop"), "Did you mean 'entropy'"),  # type: ignore[arg-type]
        (lambda: AcceptReject("x"), "Unknown uncertainty 'x'"),  # type: ignore[arg-type]
        (lambda: DropoutDisagreement(passes=1), "acquire.passes=1"),
        (lambda: Instability(copies=0), "acquire.copies=0"),
        (lambda: Instability(share=0.0), "acquire.share=0.0 is no share"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), share=st.sampled_from([0.0, 0.5, 1.0]))
def test_classes_take_turns_and_the_rare_one_is_first(seed: int, share: float) -> None:
    probabilities = np.random.default_rng(seed).dirichlet([0.5, 4.0], size=40)
    view = ArrayView(probabilities, np.zeros((40, 2)))
    left, expected = list(range(40)), []
    for turn in range(round(share * 10)):
        label = int(probabilities.sum(axis=0).argsort()[turn % 2])
        expected.append(max(left, key=lambda index: probabilities[index, label]))
        left.remove(expected[-1])
    found = ClassBalance(share).query(view, 10, rng(seed)).indices.tolist()
    assert found[: len(expected)] == expected
    assert len(set(found)) == 10


def test_class_balance_finds_more_of_a_rare_class_than_chance() -> None:
    """A weak student: its probability of the rare class is noise plus a small signal."""
    dice = np.random.default_rng(5)
    rare = dice.random(1000) < 0.05
    belief = 1 / (1 + np.exp(-(dice.normal(size=1000) + 1.5 * rare - 3)))
    view = ArrayView(np.column_stack([belief, 1 - belief]), np.zeros((1000, 2)))
    found = ClassBalance().query(view, 100, rng()).indices
    assert rare[found].sum() > 2 * rare.mean() * 100


def test_a_share_by_class_out_of_range_is_named() -> None:
    with pytest.raises(ConfigError, match=r"acquire\.share=1\.5 must be between 0 and 1"):
        ClassBalance(1.5)
