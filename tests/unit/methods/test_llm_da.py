"""LLM-DA: variants of marked sentences whose entities are certain, each made once, and every request counted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tests.classroom import CONF, TASK, Heard, WordTeacher, evokd_settings, ground, prompt_set
from tests.ner_teacher import DESCRIPTIONS, WORDS, a_name, type_of
from tests.newsroom import TYPES, marked, scored_mention

from tutelage.errors import ConfigError
from tutelage.methods.evokd import evokd
from tutelage.methods.llm_da import LLMDA, llm_da
from tutelage.methods.names import mentions_of
from tutelage.methods.variants import Marked, noised, renamed
from tutelage.methods.writing import find_mentions
from tutelage.records import Example, Feedback, Growth, Row
from tutelage.selectors.acceptance import Acceptance
from tutelage.tasks.ner import NerTask
from tutelage.tasks.protocol import Task
from tutelage.tasks.spans import Span
from tutelage.teacher.calibration import NoCalibration
from tutelage.teacher.candidates import Candidates
from tutelage.teacher.protocol import Reply, Request, ScoreRequest, Teacher
from tutelage.teacher.span_verifier import SpanVerifier

NER = NerTask(TYPES)
SHOTS = (
    marked("then Clara Dune left the group of friends near Lake Quay", {"Clara Dune": "PER", "Lake Quay": "LOC"}),
    marked("a small river flows for many years past Old Grove", {"Old Grove": "LOC"}),
    marked("Royal Pier was founded by Hugo Heath and Royal Pier grew", {"Royal Pier": "ORG", "Hugo Heath": "PER"}),
)
NOTHING = Feedback(0, (), {})


def parts(prompt: str) -> tuple[list[str], str]:
    """The names and the sentence of a rewriting prompt."""
    first, second, _ = prompt.splitlines()
    return first.split("Keep these names as they are: ")[1].split(" ; "), second.removeprefix("Sentence: ")


def obliging(request: Request) -> Any:
    """Puts all names into a new sentence; invents and knows the names of tests.ner_teacher."""
    if isinstance(request, ScoreRequest):
        said = type_of(scored_mention(request.prompt)[1])
        return [-0.1 if word == said else -4.0 for word in (*(label.word for label in TYPES), "none")]
    chance = random.Random(request.seed)
    if "/" in request.id:
        word = next(word for word, said in DESCRIPTIONS.items() if f"names of {said}:" in request.prompt)
        return " " + a_name(word, chance)
    return f" {' and '.join(parts(request.prompt)[0])} {' '.join(chance.sample(WORDS, 9))} ."


def settings(**changes: Any) -> dict[str, Any]:
    values = OmegaConf.to_container(OmegaConf.load(CONF / "method" / "llm_da.yaml"), resolve=True)
    assert isinstance(values, dict)
    kept = {str(key): value for key, value in values.items() if key not in ("_target_", "training", "allow_codes")}
    return {**kept, "n_texts": 16, **changes}


def labeller(task: Task, teacher: Teacher, demonstrations: Sequence[Example]) -> SpanVerifier:
    return SpanVerifier(teacher, task.labels, prompt_set("completion_ner"), demonstrations, NoCalibration(), Candidates())


def standing(folder: Path, script: Any = obliging, heard: Heard | None = None, **changes: Any) -> tuple[LLMDA, WordTeacher]:
    teacher = WordTeacher(script)
    method = llm_da(prompts=prompt_set("completion_ner"), acceptance=Acceptance(), new_labeller=labeller, **settings(**changes))
    method.stand_on(ground(folder, teacher, task=NER, shots=SHOTS, dev=(), held_out=(), heard=heard))
    return method, teacher


def grown(folder: Path, script: Any = obliging, round: int = 1, **changes: Any) -> tuple[WordTeacher, Growth]:
    method, teacher = standing(folder, script, **changes)
    return teacher, method.next_rows(NOTHING, round)


def names_of(row: Row) -> list[tuple[str, str]]:
    return mentions_of(row.text, row.target)


def shot_of(row: Row) -> Example:
    return next(shot for shot in SHOTS if row.parents == (f"gold-{shot.id}",))


def types_of(shot: Example) -> list[str]:
    return [type for _, type in mentions_of(shot.text, shot.label or "")]


def test_there_are_fourteen_strategies_of_four_families() -> None:
    strategies = settings()["strategies"]
    assert len(strategies) == len(set(strategies.values())) == 14
    assert {"shorter", "synonyms", "voice", "news"} <= set(strategies)


def test_a_round_is_shared_evenly_over_the_modes_and_nothing_is_lost(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, n_texts=18)
    assert Counter(row.detail["mode"] for row in growth.rows) == {"rewrite": 5, "replace": 5, "both": 4, "noise": 4}
    assert {row.source for row in growth.rows} == {"easy"}
    assert sum(growth.quota.values()) == 18
    assert growth.asked == len(teacher.asked) == growth.answered + growth.failed
    assert growth.failed == 0
    assert growth.rejected == sum(not row.accepted for row in growth.rows)
    assert len({row.id for row in growth.rows}) == 18


def test_a_rewrite_keeps_every_entity_at_every_new_place(tmp_path: Path) -> None:
    def twice(request: Request) -> str:
        return f" {obliging(request).strip()} {parts(request.prompt)[0][0]}"  # type: ignore[union-attr]

    _, growth = grown(tmp_path, twice, modes=["rewrite"])
    for row in growth.rows:
        shot = shot_of(row)
        assert set(names_of(row)) == set(mentions_of(shot.text, shot.label or ""))
        assert max(Counter(names_of(row)).values()) == 2
        assert row.accepted
        assert row.detail["strategy"] in settings()["strategies"]
        assert row.detail["prompt"] == prompt_set("completion_ner").version("rewrite")


def test_a_rewrite_that_lost_an_entity_is_rejected_with_its_name(tmp_path: Path) -> None:
    _, growth = grown(tmp_path, lambda request: " so Clara Dunes left Old Grove and Royal Pier for ever .", modes=["rewrite"])
    reasons = {shot_of(row).text[:5]: row.reason for row in growth.rows if "did not survive" in row.reason}
    assert reasons == {"then ": "'Clara Dune' did not survive", "Royal": "'Hugo Heath' did not survive"}
    assert any(names_of(row) == [("Old Grove", "LOC")] for row in growth.rows if row.accepted)


def test_every_strategy_meets_every_shot_before_one_comes_again(tmp_path: Path) -> None:
    method, _ = standing(tmp_path, modes=["rewrite"], n_texts=14)
    rows = [row for round in (1, 2, 3) for row in method.next_rows(NOTHING, round).rows]
    assert len({(row.parents, row.detail["strategy"]) for row in rows}) == 14 * len(SHOTS)


def test_replacement_gives_every_entity_another_name_of_its_type(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, modes=["replace"], invented_names=1.0)
    assert {"/" in request.id for request in teacher.generations()} == {True}
    for row in growth.rows:
        shot = shot_of(row)
        before, after = mentions_of(shot.text, shot.label or ""), names_of(row)
        assert [type for _, type in after] == types_of(shot)
        assert not {name for name, _ in before} & {name for name, _ in after}
        assert "prompt" not in row.detail
        assert "strategy" not in row.detail
        restored = renamed(Marked("", row.text, find_spans(row)), dict(zip(after, [name for name, _ in before], strict=True)))
        assert restored.text == shot.text
    assert sum(row.accepted for row in growth.rows) > 8


def find_spans(row: Row) -> tuple[Span, ...]:
    return tuple(find_mentions(row.text, names_of(row))[0])


def test_without_another_name_a_sentence_is_rejected(tmp_path: Path) -> None:
    method, teacher = standing(tmp_path, modes=["replace"], invented_names=0.0)
    growth = method.next_rows(NOTHING, 1)
    assert not method.asks_teacher
    assert teacher.asked == []
    assert {row.reason for row in growth.rows if "Royal" in row.text} == {"no other name for 'Royal Pier'"}
    assert growth.asked == growth.answered == 0


def test_both_rewrites_what_was_replaced(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, modes=["both"])
    gold = {name for shot in SHOTS for name, _ in mentions_of(shot.text, shot.label or "")}
    asked = [request for request in teacher.generations() if "/" not in request.id]
    assert len(asked) > 12
    for request, row in zip(asked, growth.rows[: len(asked)], strict=True):
        names, sentence = parts(request.prompt)
        own = [name for name, _ in mentions_of(shot_of(row).text, shot_of(row).label or "")]
        assert not set(names) & set(own)
        assert all(name in sentence for name in names)
        assert {type for _, type in names_of(row)} == set(types_of(shot_of(row)))
        assert set(names) == {name for name, _ in names_of(row)}
    assert {name for row in growth.rows for name, _ in names_of(row)} - gold


def test_noise_leaves_the_entities_alone(tmp_path: Path) -> None:
    method, teacher = standing(tmp_path, modes=["noise"], n_texts=30)
    growth = method.next_rows(NOTHING, 1)
    assert not method.asks_teacher
    assert teacher.asked == []
    for row in growth.rows:
        assert names_of(row) == mentions_of(shot_of(row).text, shot_of(row).label or "")
        assert row.text != shot_of(row).text
    assert sum(row.accepted for row in growth.rows) > 10


@given(
    st.lists(st.sampled_from(["word", "a", "Straße", "NASA", "12", ",", "über", "ooo"]), min_size=1, max_size=12),
    st.integers(0, 11),
    st.integers(1, 3),
    st.floats(0.05, 1),
    st.integers(),
)
def test_noise_is_outside_whatever_the_sentence(words: list[str], start: int, length: int, share: float, seed: int) -> None:
    start = min(start, len(words) - 1)
    span = Span(start, min(start + length, len(words)), "PER")
    text = " ".join(words)
    made = noised(Marked("", text, (span,)), share, random.Random(seed))
    if made is None:
        assert not any(word.isalpha() for place, word in enumerate(words) if not span.start <= place < span.end)
        return
    (kept,) = made.spans
    changed = made.text.split(" ")
    assert changed[kept.start : kept.end] == words[span.start : span.end]
    assert "" not in changed
    assert made.text.casefold() != text.casefold()


def test_a_name_inside_a_longer_one_has_not_survived() -> None:
    wanted = [("Paris", "LOC"), ("Paris Hilton", "PER")]
    assert find_mentions("Paris Hilton sang", wanted) == ([Span(0, 2, "PER")], ["Paris"])
    assert find_mentions("Paris Hilton left Paris", wanted) == ([Span(0, 2, "PER"), Span(3, 4, "LOC")], [])


def test_with_separated_labels_the_first_type_is_checked_and_the_others_stay(tmp_path: Path) -> None:
    def doubtful(request: Request) -> Any:
        if isinstance(request, ScoreRequest) and scored_mention(request.prompt)[1] in ("Royal Pier", "Lake Quay"):
            return [-4.0, -4.0, -4.0, -0.1]
        return obliging(request)

    _, growth = grown(tmp_path, doubtful, modes=["rewrite"], separated=True)
    by_shot = {shot_of(row).text[:5]: row for row in growth.rows}
    assert not by_shot["Royal"].accepted
    assert "Royal Pier" in by_shot["Royal"].text
    row = by_shot["then "]
    assert row.accepted
    assert set(names_of(row)) == {("Clara Dune", "PER"), ("Lake Quay", "LOC")}
    assert len(row.entity_confidence) == 2
    assert min(row.entity_confidence) < 0.1 < 0.9 < max(row.entity_confidence)


def test_repeats_and_dev_texts_are_rejected(tmp_path: Path) -> None:
    teacher = WordTeacher(lambda request: f" {parts(request.prompt)[1]}")
    method = llm_da(prompts=prompt_set("completion_ner"), acceptance=Acceptance(), new_labeller=labeller, **settings(modes=["rewrite"]))
    dev = f"{SHOTS[1].text} again"
    method.stand_on(ground(tmp_path, teacher, task=NER, shots=SHOTS, dev=(), held_out=(("dev", dev),)))
    reasons = {row.reason for row in method.next_rows(NOTHING, 1).rows}
    assert reasons == {"exact duplicate of shots", "near duplicate of dev"}


def test_failed_requests_are_counted_and_cost_only_themselves(tmp_path: Path) -> None:
    def failing(request: Request) -> Any:
        return Reply(request.id, error="no") if request.id in ("0", "PER/0") else obliging(request)

    _, growth = grown(tmp_path, failing)
    assert growth.failed == 2
    assert growth.asked == growth.answered + 2
    assert growth.rejected == sum(not row.accepted for row in growth.rows) - 1


def test_a_resumed_method_goes_on_alike(tmp_path: Path) -> None:
    rounds: list[list[Row]] = []
    for resumed in (False, True):
        folder = tmp_path / str(resumed)
        folder.mkdir()
        teacher, method = WordTeacher(obliging), None
        for round in (1, 2, 3):
            if method is None or resumed:
                state = method.state_dict() if method else None
                method = llm_da(prompts=prompt_set("completion_ner"), acceptance=Acceptance(), new_labeller=labeller, **settings())
                stood = ground(folder, teacher, task=NER, shots=SHOTS, dev=(), held_out=())
                method.stand_on(stood)
                if state:
                    method.load_state_dict(state)
            stood.pool.append(method.next_rows(NOTHING, round).rows)
        rounds.append(list(stood.pool.rows))
    assert rounds[0] == rounds[1]


def test_planning_asks_for_what_a_round_would(tmp_path: Path) -> None:
    method, teacher = standing(tmp_path, separated=True)
    sample = method.sample_requests(3)
    assert teacher.asked == []
    counts = method.requests_a_round()
    assert set(sample) == set(counts) == {"generation", "names", "labelling"}
    assert (len(sample["generation"]), len(sample["names"])) == (3, 3)
    method.next_rows(NOTHING, 1)
    sent = Counter("names" if "/" in request.id else "generation" for request in teacher.generations())
    assert sent["names"] == counts["names"]
    assert sent["generation"] == counts["generation"]


def test_the_first_rows_are_the_shots_and_phases_are_told(tmp_path: Path) -> None:
    heard = Heard()
    method, _ = standing(tmp_path, heard=heard, separated=True)
    assert [row.text for row in method.first_rows().rows] == [shot.text for shot in SHOTS]
    growth = method.next_rows(NOTHING, 1)
    assert [name for name, _ in heard.phases] == ["calibration", "names", "generation", "labelling"]
    assert sum(count for _, count in heard.phases) == growth.asked == len(heard.replies)


@pytest.mark.parametrize(
    ("changes", "stood", "message"),
    [
        ({}, {"task": TASK}, "this task has none. Give task=ner, or take method=evokd"),
        ({}, {"shots": ()}, "shots=0 gives none"),
        ({}, {"shots": (marked("no names here"),)}, "none of them has one"),
        ({}, {"teacher": None}, "needs a teacher"),
        ({"modes": ["rewrit"]}, {}, "Unknown method.modes 'rewrit'. Did you mean 'rewrite'"),
        ({"modes": []}, {}, "must name at least one of rewrite, replace, both, noise"),
        ({"modes": ["noise", "noise"]}, {}, "none twice"),
        ({"n_texts": 0}, {}, "method.n_texts=0, so a round would make nothing"),
        ({"strategies": {}}, {}, "method.strategies is empty"),
        ({"noise_words": 0.0}, {}, r"method.noise_words=0.0 must be in \(0, 1\]"),
        ({"invented_names": 2.0}, {}, "method.invented_names=2.0"),
    ],
)
def test_what_cannot_be_grown(tmp_path: Path, changes: dict[str, Any], stood: dict[str, Any], message: str) -> None:
    given = {"teacher": WordTeacher(obliging), "task": NER, "shots": SHOTS, "dev": (), **stood}
    with pytest.raises(ConfigError, match=message):
        llm_da(prompts=prompt_set("completion_ner"), acceptance=Acceptance(), new_labeller=labeller, **settings(**changes)).stand_on(
            ground(tmp_path, given.pop("teacher"), **given)
        )


@pytest.mark.parametrize("separated", [False, True])
def test_evokd_s_paraphrases_keep_every_entity_of_the_shot(tmp_path: Path, separated: bool) -> None:
    def script(request: Request) -> Any:
        if isinstance(request, ScoreRequest):
            return obliging(request)
        names = request.prompt.splitlines()[0].removeprefix("Names: ").split(" ; ")
        return f" once {' or '.join(names[: 1 if request.id == '0' else None])} {request.seed} ."

    method = evokd(
        prompts=prompt_set("completion_ner"),
        acceptance=Acceptance(),
        new_labeller=labeller,
        **evokd_settings(n_init=3, separated=separated),
    )
    method.stand_on(ground(tmp_path, WordTeacher(script), task=NER, shots=SHOTS, dev=(), held_out=()))
    lost, *kept = (row for row in method.first_rows().rows if row.source == "init")
    assert lost.reason == "'Lake Quay' did not survive"
    for row in kept:
        assert row.accepted
        assert set(names_of(row)) == set(mentions_of(shot_of(row).text, shot_of(row).label or ""))
