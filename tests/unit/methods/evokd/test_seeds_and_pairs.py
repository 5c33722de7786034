"""What hard texts are written from: confused pairs, rows of high loss, texts of the pool."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.classification import (
    LABELS,
    MIXED,
    NAMES,
    SHOTS,
    TASK,
    WordTeacher,
    context,
    feedback,
    grown,
    make_evokd,
    make_text,
    obliging,
    prompt_set,
)
from tests.helpers.pool import POOL

from tutelage.errors import ConfigError
from tutelage.methods.evokd.demonstrations import confused_pairs, shared_out, student_loss
from tutelage.records import Growth, LabelDistribution, Outcome, Row
from tutelage.teacher.base import GenerateRequest, Request

CHAT = "chat_classification"


def answering(request: Request) -> Any:
    """Writes as many texts as a chat asks for."""
    assert isinstance(request, GenerateRequest)
    if not request.json_schema:
        return "It mixes up tools and animals."
    count = json.loads(request.json_schema)["properties"]["texts"]["maxItems"]
    texts = [make_text("Tool", 100 + 10 * int(request.id) + number) for number in range(count)]
    return json.dumps({"texts": texts})


def chats(folder: Path, **changes: Any) -> tuple[list[str], Growth]:
    """Grows a round by chat; returns its prompts for texts."""
    made = make_evokd(prompts=prompt_set(CHAT), separated=False, **changes)
    teacher = WordTeacher(answering)
    made.setup(context(folder, teacher, unlabelled=POOL))
    growth = made.next_rows(made.aimed_at(MIXED), 1)
    return [str(request.prompt) for request in teacher.generations()], growth


@given(st.integers(0, 60), st.dictionaries(st.text("abcde", min_size=1), st.integers(1, 40)))
def test_texts_are_shared_in_proportion(count: int, weights: dict[str, int]) -> None:
    shared = shared_out(count, weights)
    assert len(shared) == count
    if not weights:
        assert set(shared) <= {""}
        return
    shares, whole = Counter(shared), sum(weights.values())
    for name, weight in weights.items():
        assert abs(shares[name] - count * weight / whole) < 1
        assert all(shares[name] >= shares[other] for other in weights if weights[other] < weight)


def test_hard_texts_of_a_class_go_to_the_classes_it_was_taken_for(tmp_path: Path) -> None:
    confusing = feedback(
        {"Animal": 2, "Food": 2}, {("Tool", "Animal"): 3, ("Tool", "Food"): 1, ("Food", "Tool"): 2}
    )
    assert confused_pairs(TASK, confusing.outcomes) == {
        ("Tool", "Animal"): 3,
        ("Tool", "Food"): 1,
        ("Food", "Tool"): 2,
    }
    _, _, growth = grown(tmp_path, confusing, n_hard=24, pairs=True)
    pairs = Counter(
        (row.asked, row.detail.get("confused_with")) for row in growth.rows if row.source == "hard"
    )
    tools = growth.quota["Tool/hard"]
    assert abs(pairs["Tool", "Animal"] - 0.75 * tools) < 1
    assert pairs["Tool", "Food"] == tools - pairs["Tool", "Animal"]
    assert pairs["Food", "Tool"] == growth.quota["Food/hard"]
    # Animals were all recognised, so theirs lie where tools were taken for them.
    assert pairs["Animal", "Tool"] == growth.quota["Animal/hard"]
    # A text shows only mistakes of its pair.
    by_id = {one.id: one.predicted for one in confusing.wrong}
    for row in growth.rows:
        if row.asked == "Tool" and row.source == "hard":
            shown = {by_id[parent] for parent in row.parents if parent in by_id}
            assert shown == {row.detail["confused_with"]}


def test_the_analysis_of_a_chat_names_labels_and_confused_pairs(tmp_path: Path) -> None:
    made = make_evokd(prompts=prompt_set(CHAT), separated=False)
    teacher = WordTeacher(answering)
    made.setup(context(tmp_path, teacher))
    made.next_rows(made.aimed_at(MIXED), 1)
    (request,) = teacher.analyses()
    prompt = str(request.prompt)
    assert all(f"{label.word}: {label.description}" in prompt for label in LABELS)
    assert "Confused most: tool taken for animal (4), animal taken for tool (1)." in prompt
    assert sum(one.text in prompt for one in MIXED.correct) == 4
    assert "one line for each pair" in prompt


def test_the_loss_is_the_cross_entropy_of_the_target() -> None:
    for one in MIXED.outcomes:
        own = one.probabilities[NAMES.index(one.target)]
        assert student_loss(TASK, one) == pytest.approx(-log(own))


def test_rows_of_the_highest_loss_are_rewritten_without_an_analysis(tmp_path: Path) -> None:
    teacher = WordTeacher(obliging)
    made = make_evokd(seeds="loss", n_hard=6, n_easy=0, focus=0.0)
    losses = {make_text(name, n): 0.1 + n / 10 for name in NAMES for n in range(1, 8)}
    rows = [_row(text, text.split()[0].capitalize()) for text in losses]
    doubted = _row(make_text("Tool", 9), "Tool", sure=0.35)

    def predict(asked: Sequence[Row]) -> list[Outcome]:
        # The higher the number of a text, the further the student is from its label.
        return [
            Outcome(
                row.id, row.text, row.target, next(name for name in NAMES if name != row.target),
                tuple(
                    1 - losses.get(row.text, 0.99) if name == row.target
                    else losses.get(row.text, 0.99) / 2 for name in NAMES
                ), row.source, 0,
            )
            for row in asked
        ]  # fmt: skip

    given_context = context(tmp_path, teacher, predict=predict)
    given_context.pool.append([*rows, doubted])
    made.setup(given_context)
    growth = made.next_rows(made.aimed_at(MIXED), 1)
    assert not teacher.analyses()
    seeds = Counter(parent for row in growth.rows for parent in row.parents)
    expected = {f"row-{make_text(name, n)}" for name in NAMES for n in (6, 7)}
    assert set(seeds) == expected
    assert all("said in two different ways" in str(one.prompt) for one in teacher.generations())
    assert {row.source for row in growth.rows} == {"hard"}


def test_without_any_row_the_shots_are_rewritten(tmp_path: Path) -> None:
    _, teacher, growth = grown(tmp_path, seeds="loss", n_hard=9, n_easy=3)
    gold = {f"gold-{shot.id}" for shot in SHOTS}
    hard = [row for row in growth.rows if row.source == "hard"]
    assert len(hard) == 9
    assert {parent for row in hard for parent in row.parents} == gold
    assert (
        len([one for one in teacher.generations() if "two different ways" in str(one.prompt)]) == 9
    )


def test_texts_of_the_pool_are_rewritten_into_the_class(tmp_path: Path) -> None:
    prompts, growth = chats(tmp_path, content="pool", n_hard=12, n_easy=6)
    texts = {example.text for example in POOL}
    assert prompts
    for prompt in prompts:
        assert "Rewrite " in prompt
        assert "Write " not in prompt.partition("Examples of")[2]
        assert any(text in prompt for text in texts)
    assert len(growth.rows) == 18
    free, _ = chats(tmp_path / "free", n_hard=12, n_easy=6)
    assert not any("Rewrite " in prompt for prompt in free)
    assert len(free) == len(prompts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": True, "feedback": "none"}, "method.pairs=true follows the student"),
        ({"seeds": "loss", "feedback": "none"}, "method.seeds=loss follows the student"),
        ({"pairs": True, "seeds": "loss"}, "Give method.pairs=false or"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_evokd(**changes)


def test_pool_content_needs_a_pool_and_a_chat(tmp_path: Path) -> None:
    for prompts, unlabelled in ((prompt_set(), POOL), (prompt_set(CHAT), ())):
        made = make_evokd(content="pool", prompts=prompts)
        with pytest.raises(ConfigError, match=r"method\.content=pool"):
            made.setup(context(tmp_path, WordTeacher(obliging), unlabelled=unlabelled))


def _row(text: str, target: str, sure: float = 0.9) -> Row:
    rest = (1 - sure) / 2
    distribution = LabelDistribution(
        NAMES, tuple(sure if name == target else rest for name in NAMES), 0.1
    )
    return Row(f"row-{text}", text, target, "pool", 0, True, distribution=distribution)
