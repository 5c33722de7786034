"""Seed policies: which accepted texts are shown when the next ones are written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.classification import (
    MIXED,
    SHOTS,
    TASK,
    WordTeacher,
    context,
    make_evokd,
    obliging,
    prompt_set,
)
from tests.helpers.ner import TYPES, marked

from tutelage.data.dedup import mean_similarities
from tutelage.errors import ConfigError
from tutelage.methods.evokd.method import EvoKD
from tutelage.methods.evokd.seeds import SeedTexts
from tutelage.records import Growth, Row
from tutelage.tasks.ner import NerTask
from tutelage.teacher.base import GenerateRequest, Request

POLICIES = ("naive", "random", "diverse", "similar", "tree")
EARLY = (
    "the red ball bounced",
    "the red ball rolled",
    "the red ball bounced high",
    "quantum flux capacitors hum",
    "the red bell rolled",
    "a red ball bounced",
    "the red ball rolled on",
    "the red balls bounced",
)
GOLD = {shot.id for shot in SHOTS}


def written(texts: Sequence[str] = EARLY, label: str = "Tool", **changes: Any) -> list[Row]:
    given: dict[str, Any] = {"source": "easy", "round": 1, "accepted": True, **changes}
    return [Row(f"{label}-{text}", text, label, **given) for text in texts]


def answering(request: Request) -> Any:
    """Writes as many texts as a chat asks for."""
    assert isinstance(request, GenerateRequest)
    if not request.json_schema:
        return "It mixes up tools and animals."
    count = json.loads(request.json_schema)["properties"]["texts"]["maxItems"]
    return json.dumps({"texts": [f"{request.id} tool number {n}" for n in range(count)]})


def start(
    folder: Path, rows: Sequence[Row], script: Any = obliging, **changes: Any
) -> tuple[EvoKD, WordTeacher]:
    teacher = WordTeacher(script)
    method = make_evokd(**{"n_hard": 3, "n_easy": 3, "focus": 0.0, **changes})
    given = context(folder, teacher)
    given.pool.append(list(rows))
    method.setup(given)
    return method, teacher


def of_class(growth: Growth, label: str = "Tool") -> list[list[str]]:
    """The ids shown for each text of a class."""
    return [list(row.parents) for row in growth.rows if row.asked == label]


def test_the_mean_similarity_is_that_of_pairs() -> None:
    means = mean_similarities(EARLY)
    assert means.index(min(means)) == 3
    assert means == pytest.approx(
        [
            sum(mean_similarities([one, other])[0] for other in EARLY if other != one) / 7
            for one in EARLY
        ]
    )
    assert mean_similarities(["alone"]) == [0.0]
    assert mean_similarities(["abcd", "abcd"]) == [1.0, 1.0]


def test_diverse_and_similar_are_the_two_ends() -> None:
    rows = written()
    ends = [
        [one.text for one in SeedTexts(policy, TASK, rows).candidates("Tool", 1)]
        for policy in ("diverse", "similar")
    ]
    means = dict(zip(EARLY, mean_similarities(EARLY), strict=True))
    order = sorted(EARLY, key=lambda text: means[text])
    assert ends[0] == order[:2]
    assert ends[1] == order[::-1][:2]
    assert ends[0][0] == "quantum flux capacitors hum"
    # A quarter, but twice as many as are drawn where that is more.
    assert len(SeedTexts("diverse", TASK, rows).candidates("Tool", 3)) == 6
    many = written([f"text {number}" for number in range(40)])
    assert len(SeedTexts("similar", TASK, many).candidates("Tool", 1)) == 10


def test_only_accepted_texts_that_were_written_are_seeds() -> None:
    rows = [
        *written(["kept"]),
        *written(["rejected"], accepted=False),
        *written(["shot"], source="gold"),
        *written(["real"], source="pool"),
        *written(["other class"], "Food"),
    ]
    for policy in ("random", "diverse", "similar", "tree"):
        seeds = SeedTexts(policy, TASK, rows)
        assert [one.text for one in seeds.candidates("Tool", 3)] == ["kept"], policy
        assert seeds.candidates("Animal", 3) == []
    assert SeedTexts("naive", TASK, rows).candidates("Tool", 3) == []
    assert SeedTexts("random", TASK, rows).candidates("Tool", 1, {"Tool-kept"}) == []


def test_an_entity_text_is_a_seed_for_each_of_its_types() -> None:
    task = NerTask(TYPES)
    one = marked("amber birch met cedar", {"amber birch": "PER", "cedar": "LOC"})
    rows = [Row("a", one.text, str(one.label), "hard", 1, True)]
    for label in ("PER", "LOC"):
        (found,) = SeedTexts("random", task, rows).candidates(label, 1)
        assert (found.text, found.label) == (one.text, one.label)
    tree = SeedTexts("tree", task, rows)
    assert [len(tree.candidates(label, 1)) for label in ("PER", "LOC")] == [1, 0]


@pytest.mark.parametrize("feedback", ["generated", "none"])
@pytest.mark.parametrize("policy", POLICIES)
def test_one_demonstration_is_the_seed_and_the_first_round_shows_shots(
    tmp_path: Path, policy: str, feedback: str
) -> None:
    changes = {"seeds": policy, "feedback": feedback, "demonstrations": 1}
    method, _ = start(tmp_path / "first", [], **changes)
    first = method.next_rows(method.aimed_at(MIXED), 1)
    assert {parent for row in first.rows for parent in row.parents} <= GOLD
    assert all(len(row.parents) == 1 for row in first.rows)
    rows = written()
    method, teacher = start(tmp_path, rows, **changes)
    growth = method.next_rows(method.aimed_at(MIXED), 2)
    shown = [parent for parents in of_class(growth) for parent in parents]
    assert len(shown) == 2
    assert bool({*shown} & GOLD) == (policy == "naive")
    for row in growth.rows:
        assert row.asked == "Tool" or {*row.parents} <= GOLD
    texts = {row.id: row.text for row in rows}
    prompts = [str(request.prompt) for request in teacher.generations()]
    for parent in shown:
        if parent in texts:
            assert any(texts[parent] in prompt for prompt in prompts)
    # The analysis and the class that hard texts are taken for still follow the student.
    assert bool(teacher.analyses()) == (feedback == "generated")
    confused = {row.detail.get("confused_with") for row in growth.rows if row.source == "hard"}
    assert bool(confused - {None}) == (feedback == "generated")


def test_seeds_stand_beside_a_shot(tmp_path: Path) -> None:
    for policy in POLICIES:
        method, _ = start(tmp_path / policy, written(), seeds=policy, demonstrations=3)
        growth = method.next_rows(method.aimed_at(MIXED), 2)
        for parents in of_class(growth):
            gold = GOLD & {*parents}
            # There are two shots of each class.
            expected = (2, 2) if policy == "naive" else (3, 1)
            assert (len({*parents}), len(gold)) == expected


def test_a_tree_shows_each_text_once_even_after_a_resume(tmp_path: Path) -> None:
    rows, shown = written(EARLY[:5]), Counter[str]()
    changes = {"seeds": "tree", "demonstrations": 1, "n_hard": 0, "n_easy": 6}
    method, _ = start(tmp_path, rows, **changes)
    for round in (2, 3, 4):
        growth = method.next_rows(method.aimed_at(MIXED), round)
        turns = [parent for parents in of_class(growth) for parent in parents]
        expected = [row.id for row in rows][len(shown) :][:2]
        assert turns[: len(expected)] == expected, "the oldest first"
        assert {*turns[len(expected) :]} <= GOLD
        shown.update(parent for parent in turns if parent not in GOLD)
        # Only the pool remembers, and nothing that was written since is accepted.
        method, _ = start(
            tmp_path / str(round),
            [*rows, *(_rejected(parent, round) for parent in shown)],
            **changes,
        )
    assert shown == {row.id: 1 for row in rows}


def test_the_same_seed_shows_the_same_texts(tmp_path: Path) -> None:
    for policy in POLICIES:
        both = []
        for number in (1, 2):
            method, _ = start(tmp_path / f"{policy}{number}", written(), seeds=policy)
            growth = method.next_rows(method.aimed_at(MIXED), 2)
            both.append([row.parents for row in growth.rows])
        assert both[0] == both[1]


def test_a_chat_shows_a_mistake_and_not_the_same_text_as_a_seed(tmp_path: Path) -> None:
    missed = [one for one in MIXED.wrong if one.target == "Tool"]
    rows = [Row(one.id, one.text, one.target, "easy", 1, True) for one in missed]
    chat = prompt_set("chat_classification")
    changes = {"prompts": chat, "seeds": "random", "separated": False, "demonstrations": 2}
    method, _ = start(tmp_path, rows, answering, **changes)
    growth = method.next_rows(method.aimed_at(MIXED), 2)
    hard = [row.parents for row in growth.rows if row.source == "hard" and row.asked == "Tool"]
    assert hard
    for parents in hard:
        assert len(parents) == len({*parents})


def test_a_policy_without_demonstrations_is_refused() -> None:
    for policy in POLICIES:
        with pytest.raises(ConfigError, match=f"method.seeds={policy} chooses demonstrations"):
            make_evokd(seeds=policy, demonstrations=0)
    make_evokd(seeds="demonstrations", demonstrations=0)


def _rejected(parent: str, round: int) -> Row:
    return Row(
        f"of-{parent}", f"text of {parent}", "Tool", "easy", round, False, "near", parents=(parent,)
    )
