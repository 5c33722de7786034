"""ReverseGen: the bandit's arithmetic, what is kept of a round, and what a resumed run knows."""

from __future__ import annotations

import json
import random
from collections import Counter
from math import exp, lgamma, log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.classification import (
    LABELS,
    MIXED,
    NAMES,
    WordTeacher,
    context,
    make_evokd,
    obliging,
    relative_settings,
    scored_text,
)
from tests.helpers.methods import reversegen
from tests.unit.methods.evokd.test_pool_feedback import taken_for_animals

from tutelage.errors import ConfigError
from tutelage.methods.base import MethodContext
from tutelage.methods.evokd.arm_bandit import Arm, ArmBandit
from tutelage.methods.evokd.method import EvoKD
from tutelage.methods.evokd.reversegen import DOUBTFUL, RIGHT
from tutelage.records import Growth
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.teacher.base import Reply, Request, ScoreRequest

ARMS: list[Arm] = [("easy", "Tool", ""), ("hard", "Tool", "short"), ("hard", "Food", "")]
COUNTS = st.integers(0, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


def set_up(
    folder: Path, script: Any = obliging, seed: int = 1, **changes: Any
) -> tuple[EvoKD, WordTeacher, MethodContext]:
    method = make_evokd(
        LabelAgreement(agreement=False),
        build=reversegen,
        **relative_settings("reversegen", **{"texts_per_arm": 2, **changes}),
    )
    teacher = WordTeacher(script)
    given_context = context(folder, teacher, predict=taken_for_animals, seed=seed)
    method.setup(given_context)
    return method, teacher, given_context


def rounds(folder: Path, count: int, **changes: Any) -> list[Growth]:
    """Grows rounds one after the other, each into the pool."""
    method, _, given_context = set_up(folder, **changes)
    grown = []
    for round in range(1, count + 1):
        grown.append(method.next_rows(method.aimed_at(MIXED), round))
        given_context.pool.append(grown[-1].rows)
    return grown


def _counts(method: EvoKD) -> list[tuple[Any, ...]]:
    return [
        (*arm, (texts, failures))
        for *arm, texts, failures in method.state_dict()["bandit"]["counts"]
    ]


def beta(a: float, b: float) -> float:
    """The logarithm of the beta function."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def second_is_better(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Probability that a share from the second posterior exceeds one from the first, exactly."""
    (texts, failures), (more, found) = first, second
    a, b, c, d = 1 + failures, 1 + texts - failures, 1 + found, 1 + more - found
    return sum(exp(beta(a + i, b + d) - log(d + i) - beta(1 + i, d) - beta(a, b)) for i in range(c))


@pytest.mark.parametrize(
    "counts", [((0, 0), (0, 0)), ((8, 1), (8, 3)), ((20, 2), (2, 1)), ((6, 6), (6, 0))]
)
def test_an_arm_is_drawn_as_often_as_it_is_the_best(
    counts: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    bandit = ArmBandit(ARMS[:2])
    bandit.learn(dict(zip(ARMS, counts, strict=False)))
    drawn = Counter(bandit.choose(4000, random.Random(1)))
    assert drawn[ARMS[1]] / 4000 == pytest.approx(second_is_better(*counts), abs=0.03)


@given(st.lists(st.dictionaries(st.sampled_from(ARMS), COUNTS), max_size=6))
def test_older_counts_fade_and_a_resumed_bandit_draws_the_same(
    history: list[dict[Arm, tuple[int, int]]],
) -> None:
    bandit = ArmBandit(ARMS)
    for results in history:
        bandit.learn(results)
    state = json.loads(json.dumps(bandit.state_dict()))
    for (*arm, texts, failures), wanted in zip(state["counts"], ARMS, strict=True):
        assert tuple(arm) == wanted
        ages = list(enumerate(reversed(history)))
        for found, place in ((texts, 0), (failures, 1)):
            faded = sum(0.8**age * results.get(wanted, (0, 0))[place] for age, results in ages)
            assert found == pytest.approx(faded)
    resumed = ArmBandit(ARMS)
    resumed.load_state_dict(state)
    assert resumed.choose(9, random.Random(3)) == bandit.choose(9, random.Random(3))


def test_only_failures_are_kept_and_the_bandit_counts_them(tmp_path: Path) -> None:
    styles = {"length": ["short", "long"]}
    method, teacher, _ = set_up(tmp_path, styles=styles, n_hard=20, n_easy=21)
    growth = method.next_rows(method.aimed_at(MIXED), 1)
    assert len(growth.rows) == len(teacher.generations()) == 41
    # The student takes tools for animals, and knows the rest.
    assert {row.target for row in growth.rows if row.accepted} == {"Tool"}
    assert {row.reason for row in growth.rows if row.target in ("Animal", "Food")} == {RIGHT}
    assert growth.rejected == sum(not row.accepted for row in growth.rows)
    assert {row.detail["style"] for row in growth.rows} == {"short", "long"}
    kinds = {(row.detail["variant"], row.source) for row in growth.rows}
    assert kinds == {("easy", "easy"), ("hard", "hard"), ("paraphrase", "hard")}
    counts = {tuple(arm): tuple(own) for *arm, own in _counts(method)}
    assert len(counts) == 3 * 3 * 2
    for arm, own in counts.items():
        rows = [
            row
            for row in growth.rows
            if (row.detail["variant"], row.asked, row.detail["style"]) == arm
        ]
        assert own == (len(rows), sum(row.accepted for row in rows))
    # Each prompt asks for its arm.
    described = {label.name: label.description for label in LABELS}
    for request, row in zip(teacher.generations(), growth.rows, strict=True):
        assert described[row.asked] in request.prompt or row.detail["variant"] == "paraphrase"
        assert ("two different ways" in request.prompt) == (row.detail["variant"] == "paraphrase")


def test_seed_and_round_draw_the_arms(tmp_path: Path) -> None:
    drawn = []
    for number, (seed, round) in enumerate([(1, 1), (1, 1), (2, 1), (1, 2)]):
        method, _, _ = set_up(tmp_path / str(number), seed=seed, n_hard=12, n_easy=12)
        growth = method.next_rows(method.aimed_at(MIXED), round)
        drawn.append(Counter((row.detail["variant"], row.asked) for row in growth.rows))
    assert drawn[0] == drawn[1]
    assert drawn[0] not in drawn[2:]


def test_a_share_of_what_the_student_knows_is_kept(tmp_path: Path) -> None:
    (none,) = rounds(tmp_path / "none", 1)
    (half,) = rounds(tmp_path / "half", 1, keep_right=0.5)
    right = [row.id for row in none.rows if row.reason == RIGHT]
    kept = [row for row in half.rows if row.accepted and row.target != "Tool"]
    assert len(kept) == int(0.5 * len(right) + 0.5) > 0
    assert {row.id for row in none.rows if row.accepted} < {
        row.id for row in half.rows if row.accepted
    }


def test_a_failure_counts_where_the_teacher_is_surer_of_its_label(tmp_path: Path) -> None:
    def unsure(request: Request) -> Any:
        """Hesitates between tools and animals."""
        if isinstance(request, ScoreRequest) and scored_text(request.prompt).startswith("tool"):
            return [-1.0 if name == "Tool" else -1.1 for name in NAMES]
        return obliging(request)

    method, _, _ = set_up(tmp_path, unsure, n_hard=20, n_easy=20)
    growth = method.next_rows(method.aimed_at(MIXED), 1)
    assert {row.reason for row in growth.rows if row.target == "Tool"} == {DOUBTFUL}
    assert not any(row.accepted for row in growth.rows)
    assert sum(failures for *_, (_, failures) in _counts(method)) == 0


def test_failed_requests_say_nothing_about_an_arm(tmp_path: Path) -> None:
    def lost(request: Request) -> Any:
        if isinstance(request, ScoreRequest) or request.id != "0":
            return obliging(request)
        return Reply(request.id, error="lost")

    method, _, _ = set_up(tmp_path, lost)
    method.next_rows(method.aimed_at(MIXED), 1)
    assert sum(texts for *_, (texts, _) in _counts(method)) == 11


def test_texts_go_where_the_student_fails(tmp_path: Path) -> None:
    grown = rounds(tmp_path, 6, n_hard=12, n_easy=12)
    tools = [Counter(row.asked for row in growth.rows)["Tool"] for growth in grown]
    # A third is for tools by chance.
    assert sum(tools[3:]) > 0.6 * 24 * 3
    assert tools[0] < tools[-1]


def test_a_run_that_is_killed_between_rounds_goes_on_alike(tmp_path: Path) -> None:
    method, _, given_context = set_up(tmp_path)
    for round in (1, 2):
        given_context.pool.append(method.next_rows(method.aimed_at(MIXED), round).rows)
    state = json.loads(json.dumps(method.state_dict()))
    third = method.next_rows(method.aimed_at(MIXED), 3)
    again, _, _ = set_up(tmp_path)
    again.load_state_dict(state)
    assert again.next_rows(again.aimed_at(MIXED), 3).rows == third.rows
    assert again.state_dict() == method.state_dict()
    # What it knows matters: without it other arms are drawn.
    forgetful, _, _ = set_up(tmp_path)
    assert forgetful.next_rows(forgetful.aimed_at(MIXED), 3).rows != third.rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feedback": "none"}, "method.feedback=none is none of method=reversegen"),
        ({"variants": ["easy", "easy"]}, "and none twice"),
        ({"texts_per_arm": 0}, "method.texts_per_arm=0"),
        ({"keep_right": -0.1}, "method.keep_right=-0.1"),
        ({"separated": False}, "Give method.separated=true"),
        ({"seeds": "loss"}, "chooses by method.variants"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_evokd(build=reversegen, **relative_settings("reversegen", **changes))
