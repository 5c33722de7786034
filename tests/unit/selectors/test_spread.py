"""Spread: one row per cluster, within the surest part of each class."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.epoch_views import epoch, kept

from tutelage.errors import ConfigError
from tutelage.selectors.spread import Spread


def test_of_two_groups_of_sure_texts_one_of_each_is_kept() -> None:
    # The four surest rows are two pairs of near twins; the rest is far away, but unsure.
    view = epoch(
        [0] * 8,
        confidence=[0.99, 0.98, 0.97, 0.96, 0.1, 0.1, 0.1, 0.1],
        embeddings=[[0, 0], [0, 0.1], [5, 5], [5, 5.1], [9, 0], [0, 9], [-9, 0], [0, -9]],
    )
    chosen = kept(Spread(share=0.25), view)
    assert len(chosen) == 2
    assert (chosen[0] in (0, 1), chosen[1] in (2, 3)) == (True, True)


def test_the_surest_share_alone_is_the_surest_rows() -> None:
    view = epoch([0, 0, 1, 1], confidence=[0.5, 0.9, 0.8, 0.7], embeddings=np.eye(4))
    assert kept(Spread(share=0.5, surest=0.5), view) == [1, 2]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.booleans(),
            st.one_of(st.just(math.nan), st.floats(0, 1)),
            st.one_of(st.just(math.nan), st.floats(-5, 5)),
        ),
        max_size=30,
    ),
    st.sampled_from([(0.1, 0.5), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)]),
)
def test_each_class_keeps_its_share_and_takes_it_from_its_surest_rows(
    rows: list[tuple[int, bool, float, float]], shares: tuple[float, float]
) -> None:
    groups, gold, confidence, place = (list(one) for one in zip(*rows, strict=True)) if rows else (
        [], [], [], [],
    )  # fmt: skip
    share, surest = shares
    view = epoch(
        groups,
        gold,
        confidence=confidence,
        embeddings=np.column_stack([place, np.arange(len(rows))]).reshape(len(rows), 2),
    )
    chosen = set(kept(Spread(share, surest), view))
    assert {index for index, given_label in enumerate(gold) if given_label} <= chosen
    for key in set(groups):
        own = [index for index in range(len(rows)) if groups[index] == key and not gold[index]]
        ranked = sorted(
            own, key=lambda index: (math.isnan(confidence[index]), -confidence[index], index)
        )
        sure = ranked[: math.ceil(round(len(own) * surest, 9))]
        usable = [index for index in sure if math.isfinite(confidence[index] + place[index])]
        wanted = math.ceil(round(len(own) * share, 9))
        assert len(chosen & set(own)) == wanted
        # Other rows are only kept once every usable sure row is.
        if len(usable) >= wanted:
            assert chosen & set(own) <= set(usable)
        else:
            assert set(usable) <= chosen


def test_a_view_without_embeddings_is_an_error() -> None:
    assert "embeddings" in Spread.needs
    with pytest.raises(ValueError, match="without embeddings"):
        Spread().choose(epoch([0]))


def test_shares_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"select\.share=0 must be above 0"):
        Spread(share=0)
    with pytest.raises(ConfigError, match=r"select\.surest=0.5 must be at least select.share=0.6"):
        Spread(share=0.6)
