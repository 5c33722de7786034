"""Curate-Train-Refine: what is held out, which pairs texts are written for, and how many."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.classification import (
    MIXED,
    NAMES,
    TASK,
    WordTeacher,
    context,
    feedback,
    make_evokd,
    make_text,
    obliging,
    relative_settings,
)
from tests.helpers.methods import curate_train_refine
from tests.unit.methods.evokd.test_pool_feedback import taken_for_animals

from tutelage.data.training_view import RoundView
from tutelage.errors import ConfigError
from tutelage.methods.base import MethodContext
from tutelage.methods.evokd.curate_train_refine import HELD_OUT
from tutelage.methods.evokd.method import EvoKD
from tutelage.records import Growth, Outcome, Row
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.teacher.base import GenerateRequest, Request


def set_up(
    folder: Path,
    script: Any = obliging,
    predict: Any = taken_for_animals,
    seed: int = 1,
    **changes: Any,
) -> tuple[EvoKD, WordTeacher, MethodContext]:
    small = {"n_first": 24, "n_hard": 12, "n_easy": 0, "analysis": False}
    method = make_evokd(
        LabelAgreement(agreement=False),
        build=curate_train_refine,
        **relative_settings("curate_train_refine", **{**small, **changes}),
    )
    teacher = WordTeacher(script)
    given_context = context(folder, teacher, predict=predict, seed=seed)
    method.setup(given_context)
    return method, teacher, given_context


def curated(folder: Path, **changes: Any) -> tuple[EvoKD, WordTeacher, MethodContext, Growth]:
    """A method whose first rows are in the pool."""
    method, teacher, given_context = set_up(folder, **changes)
    growth = method.first_rows()
    given_context.pool.append(growth.rows)
    return method, teacher, given_context, growth


def held_out(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.reason == HELD_OUT]


def test_a_quarter_of_each_class_is_held_out_and_never_trained_on(tmp_path: Path) -> None:
    _, _, given_context, growth = curated(tmp_path)
    held = held_out(growth.rows)
    assert Counter(row.target for row in held) == dict.fromkeys(NAMES, 2)
    trained = RoundView("all", 1, 0, 0, 1, "shots").all_rows(given_context.pool)
    assert Counter(row.target for row in trained if row.source == "easy") == dict.fromkeys(NAMES, 6)
    assert not {row.text for row in held} & {row.text for row in trained}
    assert growth.rejected == len(held)


def test_the_run_s_seed_draws_what_is_held_out(tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate((1, 1, 2)):
        _, _, _, growth = curated(tmp_path / str(number), seed=seed)
        rows = [row for row in growth.rows if not row.given]
        drawn.append([row.reason == HELD_OUT for row in rows])
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == len(drawn[2])


def test_rounds_follow_the_mistakes_on_held_out_texts_alone(tmp_path: Path) -> None:
    asked: list[set[str]] = []

    def predict(rows: Sequence[Row]) -> list[Outcome]:
        asked.append({row.id for row in rows})
        return taken_for_animals(rows)

    method, _, _, growth = curated(tmp_path, predict=predict)
    held = held_out(growth.rows)
    aimed = method.aimed_at(MIXED)
    assert asked == [{row.id for row in held}]
    assert [one.id for one in aimed.outcomes] == [row.id for row in held]
    assert {one.target for one in aimed.wrong} == {"Tool"}
    assert aimed.per_class == TASK.scores(aimed.outcomes)
    grown = method.next_rows(aimed, 1)
    assert {(row.asked, row.detail["confused_with"]) for row in grown.rows} == {("Tool", "Animal")}
    assert len(grown.rows) == 12
    assert all(row.accepted for row in grown.rows)


def test_only_the_largest_pairs_get_texts_by_their_mistakes(tmp_path: Path) -> None:
    confusing = feedback(
        {"Animal": 2},
        {("Tool", "Animal"): 6, ("Food", "Tool"): 3, ("Animal", "Food"): 2, ("Tool", "Food"): 1},
    )
    method, _, _, _ = curated(tmp_path, n_pairs=2, n_hard=9, n_easy=3)
    grown = method.next_rows(confusing, 1)
    pairs = Counter(
        (row.source, row.asked, row.detail.get("confused_with", "")) for row in grown.rows
    )
    easy = {key: count for key, count in pairs.items() if key[0] == "easy"}
    assert sum(easy.values()) == 3
    assert pairs - Counter(easy) == {("hard", "Tool", "Animal"): 6, ("hard", "Food", "Tool"): 3}


def test_without_a_confused_pair_a_round_is_evokd_s(tmp_path: Path) -> None:
    method, _, _, _ = curated(tmp_path)
    right = feedback(dict.fromkeys(NAMES, 3), {})
    assert Counter(row.asked for row in method.next_rows(right, 1).rows) == dict.fromkeys(NAMES, 4)


def test_a_class_that_has_its_texts_is_not_asked_for(tmp_path: Path) -> None:
    method, teacher, given_context, _ = curated(tmp_path, class_cap=9)
    first = method.next_rows(method.aimed_at(MIXED), 1)
    # Six of the first texts are trained on.
    assert Counter(row.asked for row in first.rows) == {"Tool": 3}
    given_context.pool.append(first.rows)
    before = len(teacher.asked)
    second = method.next_rows(method.aimed_at(MIXED), 2)
    assert (second.rows, len(teacher.asked)) == ((), before)


@pytest.mark.parametrize("separated", [True, False])
def test_a_resumed_run_has_the_same_validation_and_repeats_none_of_it(
    tmp_path: Path, separated: bool
) -> None:
    method, _, given_context, growth = curated(tmp_path, separated=separated)
    (copied, *_) = [row.text for row in held_out(growth.rows) if row.target == "Tool"]

    def copying(request: Request) -> Any:
        """Writes a held-out text once more."""
        if isinstance(request, GenerateRequest) and request.id == "0":
            return f" {copied}"
        if isinstance(request, GenerateRequest):
            return " " + make_text("Tool", 10_000 + request.seed % 1000)
        return obliging(request)

    resumed, _, _ = set_up(tmp_path, copying, separated=separated)
    resumed.load_state_dict(json.loads(json.dumps(method.state_dict())))
    aimed = resumed.aimed_at(MIXED)
    assert aimed == method.aimed_at(MIXED)
    rows = resumed.next_rows(aimed, 1).rows
    assert rows[0].text == copied
    assert rows[0].reason == "exact duplicate of pool"
    assert all(row.accepted for row in rows[1:])
    assert held_out(given_context.pool.rows) == held_out(growth.rows)


def test_with_dev_nothing_is_held_out(tmp_path: Path) -> None:
    method, _, _, growth = curated(tmp_path, feedback="dev", validation_share=0.9)
    assert not held_out(growth.rows)
    assert method.aimed_at(MIXED).outcomes == MIXED.dev


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feedback": "none"}, "method.feedback=none is none of"),
        ({"validation_share": 1.0}, "method.validation_share=1.0"),
        ({"n_pairs": 0}, "method.n_pairs=0"),
        ({"class_cap": 0}, "method.class_cap=0"),
        ({"n_first": 0}, "write no text to hold out"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        set_up(Path(), **changes)
