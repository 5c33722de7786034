"""The rows of an epoch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.pool import Pool
from tutelage.data.training_view import RoundView
from tutelage.errors import ConfigError
from tutelage.records import Row, Source
from tutelage.timeline import Position, Stage


def row(
    name: str, round: int, source: Source = "hard", target: str = "A", accepted: bool = True
) -> Row:
    return Row(name, f"text {name}", target, source, round, accepted, "" if accepted else "near")


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """A pool of two gold rows and three rounds.

    Each round has four accepted rows of three classes and one rejected row.
    """
    made = Pool.open(tmp_path / "rows.jsonl")
    made.append([row("g1", 0, "gold"), row("g2", 0, "gold", "B")])
    for round in (1, 2, 3):
        made.append(
            [row(f"{round}{target}{n}", round, target=target) for n, target in enumerate("AABC")]
        )
        made.append([row(f"{round}no", round, accepted=False)])
    return made


def view(stage: Stage = "round", round: int = 3, **changes: Any) -> RoundView:
    settings: dict[str, Any] = {
        "window": "batch",
        "gold_repeats": 2,
        "review_every": 0,
        "review_size": 0,
        "seed": 1,
        "seed_source": "shots=1",
    }
    made = RoundView(**{**settings, **changes})
    made.position = Position(stage, round, 0, 3)
    return made


def ids(rows: list[Row]) -> Counter[str]:
    return Counter(one.id for one in rows)


def test_a_round_trains_on_its_fresh_rows_and_the_gold(pool: Pool) -> None:
    assert ids(view(round=2).rows(pool, 0)) == {
        "g1": 2,
        "g2": 2,
        "2A0": 1,
        "2A1": 1,
        "2B2": 1,
        "2C3": 1,
    }


def test_all_trains_on_everything_accepted(pool: Pool) -> None:
    rows = view(window="all").rows(pool, 0)
    assert len(ids(rows)) == 2 + 12
    assert not any(one.id.endswith("no") for one in rows)


@pytest.mark.parametrize("stage", ["start", "final"])
def test_start_and_final_train_on_everything_too(pool: Pool, stage: Stage) -> None:
    assert len(ids(view(stage).rows(pool, 0))) == 14


def test_gold_alone_is_not_repeated(tmp_path: Path) -> None:
    alone = Pool.open(tmp_path / "gold.jsonl")
    alone.append([row("g1", 0, "gold")])
    assert ids(view("start", 0, gold_repeats=5).rows(alone, 0)) == {"g1": 1}


def test_names_of_classes_are_in_each_round_once(pool: Pool) -> None:
    pool.append([row("n1", 0, "class_name")])
    assert ids(view(round=2).rows(pool, 0)) == {
        "g1": 2, "g2": 2, "n1": 1, "2A0": 1, "2A1": 1, "2B2": 1, "2C3": 1,
    }  # fmt: skip


def test_review_history_comes_back_every_so_many_rounds(pool: Pool) -> None:
    def older(round: int, **changes: Any) -> Counter[str]:
        return ids(
            [
                one
                for one in view(round=round, review_every=2, **changes).rows(pool, 0)
                if one.round not in (0, round)
            ]
        )

    assert older(1, review_size=9) == older(3, review_size=9) == {}
    assert set(older(2, review_size=9)) == {
        name for name in ids(list(pool.accepted())) if name[0] in "13"
    }
    assert sum(older(2, review_size=3).values()) == 3


def test_a_review_is_balanced_over_classes_and_the_same_in_each_epoch(pool: Pool) -> None:
    def review(seed: int = 1, epoch: int = 0) -> list[Row]:
        given = view(round=3, review_every=3, review_size=6, seed=seed)
        return [one for one in given.rows(pool, epoch) if one.round in (1, 2)]

    assert Counter(one.target for one in review()) == {"A": 2, "B": 2, "C": 2}
    assert [one.id for one in review()] == [one.id for one in review(epoch=5)]
    assert len({tuple(one.id for one in review(seed)) for seed in range(8)}) > 1


def test_what_cannot_be(pool: Pool) -> None:
    with pytest.raises(
        ConfigError, match=r"Unknown training.train_on 'bath'. Did you mean 'batch'"
    ):
        view(window="bath")
    for name, value in (("gold_repeats", 0), ("review_every", -1), ("review_size", -1)):
        with pytest.raises(ConfigError, match=f"{name}={value}"):
            view(**{name: value})
    assert view().seed_source == "shots=1"


def pool_row(name: str, parent: str, round: int, accepted: bool = True) -> Row:
    return Row(
        name,
        f"text {parent}",
        "A",
        "pool",
        round,
        accepted,
        "" if accepted else "labelling failed",
        parents=(parent,),
    )


@pytest.mark.parametrize(
    ("window", "stage"),
    [("all", "round"), ("all", "start"), ("batch", "final"), ("batch", "round")],
)
def test_of_a_text_that_was_labelled_anew_only_the_newest_accepted_row_is_trained_on(
    tmp_path: Path, window: Any, stage: Stage
) -> None:
    pool = Pool.open(tmp_path / "anew.jsonl")
    pool.append(
        [
            row("g1", 0, "gold"),
            pool_row("a0", "a", 0),
            pool_row("b0", "b", 0),
            pool_row("c0", "c", 0),
        ]
    )
    pool.append([pool_row("a1", "a", 1), pool_row("b1", "b", 1, accepted=False), row("h1", 1)])
    pool.append([pool_row("a2", "a", 2)])
    seen = ids(
        view(stage, 2, window=window, gold_repeats=1, review_every=2, review_size=9).rows(pool, 0)
    )
    assert seen == dict.fromkeys(["g1", "a2", "b0", "c0", "h1"], 1)


def test_written_rows_of_one_parent_all_stay(tmp_path: Path) -> None:
    pool = Pool.open(tmp_path / "written.jsonl")
    pool.append(
        [Row(name, f"text {name}", "A", "hard", 1, True, parents=("g1",)) for name in ("w1", "w2")]
    )
    assert ids(view(window="all").rows(pool, 0)) == {"w1": 1, "w2": 1}


_arrivals = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["gold", "class_name", "hard", "pool"]),
            st.integers(0, 3),
            st.booleans(),
        ),
        max_size=4,
    ),
    max_size=6,
)


@given(_arrivals, st.sampled_from(["batch", "all"]))
def test_a_view_that_saw_rows_arrive_shows_what_one_that_sees_them_at_once_does(
    arrivals: list[list[tuple[Source, int, bool]]], window: str
) -> None:
    """Pool texts may be labelled again, by rows of the same or of a later round."""
    with TemporaryDirectory() as folder:
        pool = Pool.open(Path(folder) / "rows.jsonl")
        settings: dict[str, Any] = {"window": window, "review_every": 2, "review_size": 3}
        kept = view(round=0, **settings)
        for round, arrived in enumerate(arrivals, start=1):
            rows = [
                Row(
                    f"{round}.{n}",
                    f"text {text}",
                    "AB"[text % 2],
                    source,
                    round,
                    accepted,
                    "" if accepted else "near",
                    parents=(f"p{text}",),
                )
                for n, (source, text, accepted) in enumerate(arrived)
            ]
            pool.append(rows)
            for stage in ("round", "final"):
                kept.position = Position(stage, round, 0, 3)
                once = view(stage, round, **settings)
                assert kept.rows(pool, 0) == once.rows(pool, 0)
                assert kept.all_rows(pool) == once.all_rows(pool)
