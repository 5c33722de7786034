"""FreeAL without a labelled example: the teacher writes its first demonstrations itself."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.classification import (
    DEV,
    NAMES,
    WordTeacher,
    context,
    obliging,
    prompt_set,
    requested_label,
)
from tests.helpers.methods import freeal
from tests.helpers.ner import TYPES
from tests.helpers.pool import POOL, class_of, method_arguments, pool_context

from tutelage.errors import ConfigError
from tutelage.methods.pool.freeal import FreeAL
from tutelage.methods.pool.own_shots import OwnShots, own_shots
from tutelage.records import Feedback
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import read_spans
from tutelage.teacher.base import GenerateRequest, Request
from tutelage.teacher.wrappers.budget import BudgetedTeacher

SETTINGS = {"name": "freeal", "rounds": 2, "n_texts": None, "a_class": 2, "nearest": 3}


def set_up(folder: Path, teacher: Any, **changes: Any) -> tuple[FreeAL, Any]:
    method = freeal(**method_arguments(**{**SETTINGS, "threshold": 0.7, "own_shots": 2, **changes}))
    given = pool_context(folder, teacher, shots=())
    method.setup(given)
    return method, given


def shown(prompt: Any) -> list[str]:
    return [
        line.removeprefix("Text: ")
        for line in str(prompt).splitlines()
        if line.startswith("Text: ")
    ][:-1]


def test_the_teacher_writes_what_the_first_labels_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = WordTeacher(obliging)
    method, given = set_up(tmp_path, teacher)
    growth = method.first_rows()
    own = [row for row in growth.rows if row.source == "easy"]
    assert Counter(row.target for row in own) == dict.fromkeys(NAMES, 2)
    assert all(class_of(row.text) == row.target == row.asked for row in own)
    assert not any(row.accepted for row in own), "the student does not learn from them"
    # Every one of them is shown with every text of the pool.
    for request in teacher.scorings():
        assert set(shown(request.prompt)) == {row.text for row in own}
    assert growth.asked == growth.answered == len(own) + len(POOL)
    assert [row.text for row in growth.rows if row.accepted] == [one.text for one in POOL]
    assert method.calibration_labels == 0
    # Clean rows take their place in the next round.
    given.pool.append(growth.rows)
    odd = next(row for row in growth.rows if row.accepted)
    monkeypatch.setattr(method, "_clean", lambda *_: set(range(1, len(POOL))))
    teacher.asked.clear()
    again = method.next_rows(Feedback(0, (), {}), 1)
    assert [row.text for row in again.rows] == [odd.text]
    assert not {row.text for row in own} & set(shown(teacher.asked[0].prompt))


def test_they_show_while_nothing_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = WordTeacher(obliging)
    method, given = set_up(tmp_path, teacher)
    growth = method.first_rows()
    given.pool.append(growth.rows)
    monkeypatch.setattr(method, "_clean", lambda *_: set())
    teacher.asked.clear()
    assert len(method.next_rows(Feedback(0, (), {}), 1).rows) == len(POOL)
    own = {one.text for one in own_shots(growth.rows)}
    assert all(set(shown(request.prompt)) <= own for request in teacher.asked)
    assert all(len(shown(request.prompt)) == 3 for request in teacher.asked)


@pytest.mark.parametrize("nearest", [0, 3])
def test_without_any_demonstration_there_is_none_to_choose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nearest: int
) -> None:
    """The labeller then asks as in the first round, and not as if labels had been shown."""
    given = method_arguments(**{**SETTINGS, "threshold": 0.7, "own_shots": 0, "nearest": nearest})
    inner, choices = given["new_labeller"], list[Any]()

    def labeller(task: Any, teacher: Any, demonstrations: Any, nearest: Any = None) -> Any:
        choices.append(nearest)
        return inner(task, teacher, demonstrations, nearest)

    method = freeal(**{**given, "new_labeller": labeller})
    method_context = pool_context(tmp_path, WordTeacher(obliging), shots=())
    method.setup(method_context)
    method_context.pool.append(method.first_rows().rows)
    monkeypatch.setattr(method, "_clean", lambda *_: set())
    assert len(method.next_rows(Feedback(0, (), {}), 1).rows) == len(POOL)
    assert choices == [None, None]


def test_a_resumed_run_finds_them_again(tmp_path: Path) -> None:
    method, given = set_up(tmp_path, WordTeacher(obliging))
    given.pool.append(method.first_rows().rows)
    state = json.loads(json.dumps(method.state_dict()))
    again, _ = set_up(tmp_path, WordTeacher(obliging))
    again.load_state_dict(state)
    assert again._shots == method._shots
    assert len(again._shots) == 6
    undisturbed = method.next_rows(Feedback(0, (), {}), 1)
    assert again.next_rows(Feedback(0, (), {}), 1).rows == undisturbed.rows


def test_a_repeat_of_dev_is_none(tmp_path: Path) -> None:
    def copying(request: Request) -> Any:
        if isinstance(request, GenerateRequest) and requested_label(str(request.prompt)) == "Tool":
            return " " + next(one.text for one in DEV if one.label == "Tool")
        return obliging(request)

    growth = set_up(tmp_path, WordTeacher(copying))[0].first_rows()
    assert {one.label for one in own_shots(growth.rows)} == {"Animal", "Food"}
    assert {row.reason for row in growth.rows if row.source == "easy" and row.asked == "Tool"} == {
        "exact duplicate of dev"
    }


def test_with_shots_or_at_0_nothing_is_written(tmp_path: Path) -> None:
    for changes, given in (({}, {}), ({"own_shots": 0}, {"shots": ()})):
        teacher = WordTeacher(obliging)
        method = freeal(
            **method_arguments(**{**SETTINGS, "threshold": 0.7, "own_shots": 2, **changes})
        )
        method.setup(pool_context(tmp_path / str(len(changes)), teacher, **given))
        assert method.requests_a_round() == {"labelling": len(POOL)}
        method.first_rows()
        assert not teacher.generations()


def test_a_plan_counts_them(tmp_path: Path) -> None:
    teacher = WordTeacher(obliging)
    method, _ = set_up(tmp_path, teacher)
    assert method.requests_a_round() == {"generation": 6, "labelling": len(POOL)}
    sample = method.sample_requests(4)
    assert [len(sample[kind]) for kind in ("generation", "labelling")] == [4, 4]
    assert not teacher.asked


def test_a_budget_that_ends_before_them_is_told(tmp_path: Path) -> None:
    teacher = BudgetedTeacher(WordTeacher(obliging), 5)
    method, _ = set_up(tmp_path, teacher)
    teacher.ask(method.sample_requests(1)["labelling"])
    with pytest.raises(ConfigError, match="the teacher's own demonstrations"):
        method.first_rows()


def test_ner_writes_sentences_around_invented_names(tmp_path: Path) -> None:
    """Each name is the only entity of its sentence."""

    def script(request: Request) -> Any:
        prompt = str(request.prompt)
        if prompt.startswith("A random list of names of "):
            return f" Zed {random.Random(request.seed).choice(NAMES)}"
        return " was there at noon with two others."

    teacher = WordTeacher(script)
    given = context(
        tmp_path,
        teacher,
        task=NerTask(TYPES),
        shots=(),
        dev=(),
        held_out=(),
        unlabelled=POOL,
    )
    growth = OwnShots(given, prompt_set("completion_ner"), 2).write(teacher)
    found = own_shots(growth.rows)
    assert len(found) >= len(TYPES)
    for one in found:
        (span,) = read_spans(one.label or "")
        assert span.type in {type.name for type in TYPES}
    assert growth.asked == len(teacher.asked) == 4 * len(TYPES)


def test_the_run_s_seed_draws_how_the_sentences_begin(tmp_path: Path) -> None:
    begun = []
    for number, seed in enumerate((1, 1, 2)):
        given = context(
            tmp_path / str(number),
            WordTeacher(obliging),
            task=NerTask(TYPES),
            shots=(),
            dev=(),
            held_out=(),
            unlabelled=POOL,
            seed=seed,
        )
        requests = OwnShots(given, prompt_set("completion_ner"), 4).requests()["generation"]
        begun.append([str(request.prompt) for request in requests])
    assert begun[0] == begun[1] != begun[2]
