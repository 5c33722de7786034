"""The budget goes where mistakes are found: the bandit alone, and within a run."""

from __future__ import annotations

import json
from math import inf, log, sqrt
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.methods.evokd.test_pool_feedback import TOOLS, pool_rows, set_up

from tutelage.methods.evokd.split import SplitBandit
from tutelage.records import Feedback

NONE = Feedback(0, (), {})


def reference(history: list[tuple[str, int, int]]) -> str:
    """UCB1 over the whole history, written out."""
    rewards = [(arm, 1000 * found / tokens if tokens else 0) for arm, found, tokens in history]
    largest = max([reward for _, reward in rewards], default=0) or 1
    bounds = {}
    for arm in ("label", "write"):
        own = [reward / largest for name, reward in rewards if name == arm]
        bounds[arm] = sum(own) / len(own) + 0.5 * sqrt(log(len(history)) / len(own)) if own else inf
    return "write" if bounds["write"] - bounds["label"] > 1e-9 else "label"


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from([0, 500, 3000])), max_size=30))
def test_the_arms_are_those_of_a_slow_reference(results: list[tuple[int, int]]) -> None:
    bandit, history = SplitBandit(), list[tuple[str, int, int]]()
    for found, tokens in results:
        arm = bandit.choose()
        assert arm == reference(history)
        bandit.learn(arm, found, tokens)
        history.append((arm, found, tokens))
        # A resumed run goes on with the same choices.
        resumed = SplitBandit()
        resumed.load_state_dict(json.loads(json.dumps(bandit.state_dict())))
        assert resumed.choose() == bandit.choose()


def test_the_arm_that_pays_is_taken_most() -> None:
    bandit, taken = SplitBandit(), []
    for _ in range(12):
        taken.append(arm := bandit.choose())
        bandit.learn(arm, 1 if arm == "label" else 6, 1000)
    assert taken[:2] == ["label", "write"]
    assert taken.count("write") > 8


def test_a_round_labels_or_writes_towards_what_was_labelled_last(tmp_path: Path) -> None:
    method, teacher, given_context = set_up(tmp_path, split="bandit")
    first = method.next_rows(method.aimed_at(NONE), 1)
    assert {row.source for row in first.rows} == {"pool"}
    assert len(teacher.asked) == 5
    assert first.feedback is not None
    assert {one.text for one in first.feedback.wrong} == set(TOOLS)
    given_context.pool.append(first.rows)
    state = json.loads(json.dumps(method.state_dict()))
    second = method.next_rows(method.aimed_at(NONE), 2)
    assert {row.source for row in second.rows} == {"hard", "easy"}
    assert second.feedback is not None
    assert {one.text for one in second.feedback.wrong} == set(TOOLS)
    # Killed before the second round and resumed, it writes the same rows.
    again, _, _ = set_up(tmp_path, split="bandit")
    again.load_state_dict(state)
    assert again.next_rows(again.aimed_at(NONE), 2).rows == second.rows
    assert again.state_dict() == method.state_dict()


def test_a_used_up_pool_leaves_writing(tmp_path: Path) -> None:
    method, _, given_context = set_up(tmp_path, split="bandit", n_pool=1000)
    first = method.next_rows(method.aimed_at(NONE), 1)
    assert len(pool_rows(first)) == len(first.rows)
    given_context.pool.append(first.rows)
    for round in (2, 3, 4):
        growth = method.next_rows(method.aimed_at(NONE), round)
        assert {row.source for row in growth.rows} == {"hard", "easy"}
        given_context.pool.append(growth.rows)
