"""Labelling a pool: all of it at once, or what a selector asks for, round by round."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.classification import (
    DEV,
    LABELS,
    NAMES,
    SHOTS,
    RecordedProgress,
    WordTeacher,
    context,
    obliging,
    scored_text,
)
from tests.helpers.methods import pool_labelling
from tests.helpers.pool import POOL, Student, class_of, method_arguments, pool_context

from tutelage.errors import BudgetExhausted, ConfigError
from tutelage.labelling.calibration import BatchCalibration, TemperatureCalibration
from tutelage.methods.base import MethodContext
from tutelage.methods.pool.method import PoolLabelling
from tutelage.records import Example, Feedback
from tutelage.teacher.base import Reply, Request
from tutelage.teacher.wrappers.budget import BudgetedTeacher

NOTHING = Feedback(0, (), {})
ON_DEMAND = {"first": 3, "rounds": 2, "n_texts": 4}


def set_up(
    folder: Path,
    teacher: Any = None,
    *,
    context_changes: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[PoolLabelling, MethodContext]:
    """A method with its context."""
    method, given = (
        pool_labelling(**method_arguments(**changes)),
        pool_context(folder, teacher, **(context_changes or {})),
    )
    method.setup(given)
    return method, given


def test_the_whole_pool_is_labelled_at_once(tmp_path: Path) -> None:
    recorded, teacher = RecordedProgress(), WordTeacher(obliging)
    method, _ = set_up(tmp_path, teacher, context_changes={"recorded": recorded})
    growth = method.first_rows()
    assert [(row.text, row.parents) for row in growth.rows] == [
        (example.text, (example.id,)) for example in POOL
    ]
    for row in growth.rows:
        assert (row.source, row.round, row.accepted, row.target) == (
            "pool",
            0,
            True,
            class_of(row.text),
        )
        assert row.distribution is not None
        assert row.distribution.top == row.target
    assert (growth.asked, growth.answered, growth.failed) == (12, 12, 0)
    assert len(recorded.replies) == len(teacher.asked) == 12
    assert recorded.phases == [("calibration", 0), ("labelling", 12)]
    assert all(shot.text in teacher.asked[0].prompt for shot in SHOTS)


def test_the_shots_are_rows_only_where_they_are_trained_on(tmp_path: Path) -> None:
    for trained, gold in ((False, 0), (True, len(SHOTS))):
        method, _ = set_up(tmp_path, train_on_shots=trained)
        assert sum(row.source == "gold" for row in method.first_rows().rows) == gold


def test_on_demand_the_selector_s_choice_is_labelled(tmp_path: Path) -> None:
    doubtful = {POOL[index].text: 0.4 + index / 100 for index in (11, 5, 7, 2)}
    student = Student(doubtful)
    method, method_context = set_up(tmp_path, context_changes={"student": student}, **ON_DEMAND)
    method_context.pool.append(method.first_rows().rows)
    first = {row.text for row in method_context.pool.rows}
    assert len(first) == 3
    growth = method.next_rows(NOTHING, 1)
    wanted = [text for text in sorted(doubtful, key=doubtful.__getitem__) if text not in first]
    assert [row.text for row in growth.rows][: len(wanted)] == wanted
    assert len(growth.rows) == 4
    ((seen, learnt),) = student.views
    assert set(seen) == {example.text for example in POOL} - first
    assert set(learnt) == first
    scores = [float(row.detail["acquisition"]) for row in growth.rows]
    assert scores == sorted(scores, reverse=True)
    assert set(growth.seconds) == {"acquisition", "labelling"}


def test_nothing_is_labelled_twice_and_the_last_round_takes_what_is_left(tmp_path: Path) -> None:
    method, method_context = set_up(tmp_path, first=3, rounds=3, n_texts=5)
    method_context.pool.append(method.first_rows().rows)
    sizes = []
    for round in (1, 2, 3):
        growth = method.next_rows(NOTHING, round)
        method_context.pool.append(growth.rows)
        sizes.append(len(growth.rows))
    assert sizes == [5, 4, 0]
    assert sorted(row.parents[0] for row in method_context.pool.rows) == sorted(
        example.id for example in POOL
    )


def test_without_a_number_a_round_takes_everything(tmp_path: Path) -> None:
    method, method_context = set_up(tmp_path, first=3, rounds=1, n_texts=None)
    method_context.pool.append(method.first_rows().rows)
    assert len(method.next_rows(NOTHING, 1).rows) == 9
    assert method.requests_a_round() == {"labelling": 12}


def test_a_failed_reply_rejects_its_text_with_the_reason(tmp_path: Path) -> None:
    def script(request: Request) -> Any:
        return (
            Reply(request.id, error="lost")
            if scored_text(request.prompt) == POOL[4].text
            else obliging(request)
        )

    method, method_context = set_up(tmp_path, WordTeacher(script), first=None, rounds=1, n_texts=3)
    growth = method.first_rows()
    (bad,) = [row for row in growth.rows if not row.accepted]
    assert (bad.parents, bad.reason, bad.target, bad.distribution) == (
        (POOL[4].id,),
        "labelling failed: lost",
        "",
        None,
    )
    assert (growth.asked, growth.answered, growth.failed, growth.rejected) == (12, 11, 1, 0)
    method_context.pool.append(growth.rows)
    assert method.next_rows(NOTHING, 1).rows == ()


def test_the_pool_s_part_and_the_first_texts_are_drawn_by_the_seed(tmp_path: Path) -> None:
    def drawn(seed: int, **changes: Any) -> list[str]:
        return [
            row.parents[0]
            for row in set_up(tmp_path, context_changes={"seed": seed}, **changes)[0]
            .first_rows()
            .rows
        ]

    draws = [drawn(seed, pool_size=6) for seed in (1, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) == 3
    assert all(len(set(draw)) == 6 for draw in draws)
    assert set(drawn(1, pool_size=6, first=3)) < set(draws[0])
    assert len(drawn(1, pool_size=999)) == 12


def test_a_resumed_method_goes_on_alike(tmp_path: Path) -> None:
    method, method_context = set_up(tmp_path, calibrator=BatchCalibration, **ON_DEMAND)
    method_context.pool.append(method.first_rows().rows)
    method_context.pool.append(method.next_rows(NOTHING, 1).rows)
    state = json.loads(json.dumps(method.state_dict()))
    undisturbed = method.next_rows(NOTHING, 2)
    resumed, _ = set_up(tmp_path, calibrator=BatchCalibration, **ON_DEMAND)
    resumed.load_state_dict(state)
    assert resumed.next_rows(NOTHING, 2).rows == undisturbed.rows
    assert undisturbed.rows


def test_a_fitted_calibrator_counts_its_gold(tmp_path: Path) -> None:
    method, _ = set_up(tmp_path, calibrator=TemperatureCalibration)
    method.first_rows()
    assert method.calibration_labels == method.state_dict()["gold"] == len(DEV)


def test_a_budget_that_the_first_texts_do_not_fit_into_is_said(tmp_path: Path) -> None:
    method, _ = set_up(tmp_path, BudgetedTeacher(WordTeacher(obliging), 50))
    with pytest.raises(
        ConfigError,
        match=r"smaller than the cost of the first 12 texts of the pool.*method.pool_size",
    ):
        method.first_rows()


def test_a_budget_spent_in_a_round_ends_growth(tmp_path: Path) -> None:
    method, method_context = set_up(
        tmp_path, BudgetedTeacher(WordTeacher(obliging), 400), **ON_DEMAND
    )
    method_context.pool.append(method.first_rows().rows)
    with pytest.raises(BudgetExhausted):
        method.next_rows(NOTHING, 1)


def test_rows_have_the_teacher_s_label_whatever_is_right(tmp_path: Path) -> None:
    teacher = WordTeacher(
        lambda request: [-0.1 if label.name == "Food" else -4.0 for label in LABELS]
    )
    method, _ = set_up(tmp_path, teacher)
    assert {row.target for row in method.first_rows().rows} == {"Food"}
    assert {class_of(example.text) for example in POOL} == set(NAMES)


def test_no_gold_of_the_pool_reaches_a_method() -> None:
    from tests.helpers.classification import TASK

    from tutelage.config.build_fit import gold_for, method_context
    from tutelage.config.compose import compose_config
    from tutelage.data.dataset import Dataset

    names = {field.name for field in fields(Dataset)}
    given: dict[str, Any] = {
        "name": "made", "kind": "classification", "labels": LABELS, "pool": POOL,
        "pool_gold": {example.id: class_of(example.text) for example in POOL},
        "dev": DEV, "test": DEV,
    }  # fmt: skip
    dataset = Dataset(**{key: value for key, value in given.items() if key in names})
    config = compose_config(["method=llkd", "seed=1", "shots=1", "training.gold=shots"])
    shots = gold_for(config, dataset)
    made = method_context(
        config,
        dataset,
        TASK,
        None,
        shots,
        None,
        lambda *_: None,
        lambda *_: None,
        Student(),
        lambda _: (),
    )  # type: ignore[arg-type]
    assert all(example.label is None for example in made.unlabelled)
    labelled = [
        value for field in fields(made) if isinstance(value := getattr(made, field.name), tuple)
    ]
    known = {
        one.id
        for values in labelled
        for one in values
        if isinstance(one, Example) and one.label is not None
    }
    assert known == {one.id for one in (*shots, *DEV)}
    assert gold_for(compose_config(["method=llkd", "training.gold=none"]), dataset) == ()
    with pytest.raises(ConfigError, match=r"Unknown training.gold 'shot'. Did you mean 'shots'"):
        compose_config(["method=llkd", "training.gold=shot"])


def test_planning_asks_for_what_a_round_would(tmp_path: Path) -> None:
    teacher = WordTeacher(obliging)
    method, _ = set_up(
        tmp_path,
        teacher,
        context_changes={"view_pool": lambda *_: pytest.fail("a plan has no student")},
        **ON_DEMAND,
    )
    assert {kind: len(some) for kind, some in method.sample_requests(5).items()} == {"labelling": 5}
    assert method.requests_a_round() == {"labelling": 4}
    assert teacher.asked == []


@pytest.mark.parametrize(
    ("changes", "context_changes", "message"),
    [
        ({}, {"unlabelled": ()}, "labels a pool, and the data set has no pool text"),
        ({"pool_size": 0}, {}, "method.pool_size=0 leaves no pool"),
        ({"first": -1}, {}, "method.first=-1 must be 0 or more"),
        (
            {"rounds": 1, "n_texts": 0},
            {},
            "method.rounds=1 with method.n_texts=0 would label nothing",
        ),
        ({"first": 0}, {}, "leave the student nothing to begin with"),
    ],
)
def test_what_cannot_be_labelled(
    tmp_path: Path, changes: dict[str, Any], context_changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        set_up(tmp_path, context_changes=context_changes, **changes)


def test_a_teacher_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="method=llkd needs a teacher"):
        pool_labelling(**method_arguments()).setup(context(tmp_path, None, unlabelled=POOL))
