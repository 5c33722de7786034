"""Scoring: words and codes, groups of labels, failed requests, and fitted calibrators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from tests.helpers.classification import (
    DEV,
    LABELS,
    NAMES,
    SHOTS,
    WordTeacher,
    make_text,
    obliging,
    prompt_set,
    scored_text,
)
from tests.helpers.doubles import ScriptedTeacher

from tutelage.errors import ConfigError, TeacherError
from tutelage.labelling.base import Draft
from tutelage.labelling.calibration import (
    BatchCalibration,
    ContextualCalibration,
    NoCalibration,
    TemperatureCalibration,
)
from tutelage.labelling.scoring import MAX_CHOICES, LabelScorer, Query
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.labelling.verbalizer import verbalize
from tutelage.records import Example, Label
from tutelage.teacher.base import Reply, Request, ScoreRequest

PROMPTS = prompt_set()


class LetterTeacher(ScriptedTeacher):
    """Has one token per letter, and one per pair of lower-case letters."""

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._ids(text.strip()) for text in texts]

    def _ids(self, word: str) -> list[int]:
        if len(word) == 2 and word.islower():
            return [1000 + 26 * ord(word[0]) + ord(word[1])]
        return [ord(letter) for letter in word]


def labels(*words: str) -> tuple[Label, ...]:
    return tuple(Label(f"L{n}", word, f"say {word} number {n}") for n, word in enumerate(words))


def scorer(
    teacher: ScriptedTeacher,
    space: Sequence[Label] = LABELS,
    calibrator: Any = None,
    shots: Sequence[Example] = (),
) -> LabelScorer:
    return LabelScorer(teacher, space, PROMPTS, gold(shots), calibrator or NoCalibration())


def gold(examples: Sequence[Example]) -> list[tuple[Query, str]]:
    return [
        (Query(example.text), example.label) for example in examples if example.label is not None
    ]


def queries(*texts: str) -> list[Query]:
    return [Query(text) for text in texts]


def failing_on(word: str, request: Request) -> Reply | str | Sequence[float]:
    return (
        Reply(request.id, error="too long")
        if word in scored_text(request.prompt)
        else obliging(request)
    )


def test_words_are_used_where_their_tokens_differ() -> None:
    found = verbalize(LetterTeacher(), labels("cat", "dog", "eel"))
    assert (found.words, found.tokens, found.coded) == (
        ("cat", "dog", "eel"),
        (ord("c"), ord("d"), ord("e")),
        False,
    )


def test_colliding_words_give_way_to_letters() -> None:
    found = verbalize(LetterTeacher(), labels("cat", "cow", "eel"))
    assert (found.words, found.coded) == (("A", "B", "C"), True)
    assert len(set(found.tokens)) == 3


def test_many_colliding_labels_give_way_to_pairs_of_letters() -> None:
    found = verbalize(LetterTeacher(), labels(*["same"] * 40))
    assert found.coded
    assert len(set(found.tokens)) == len(set(found.words)) == 40
    assert all(len(word) == 2 for word in found.words)


def test_without_codes_labels_with_the_same_word_are_named() -> None:
    with pytest.raises(
        ConfigError, match=r"The labels 'L0' and 'L2' cannot be told apart by .*word: "
    ):
        verbalize(LetterTeacher(), labels("cat", "eel", "cat"), allow_codes=False)


def test_more_labels_than_codes_is_an_error_too() -> None:
    with pytest.raises(
        ConfigError, match=r"'L0' and 'L1' cannot be told apart .*; no 677 codes begin with"
    ):
        verbalize(LetterTeacher(), labels(*["same"] * 677))


def test_a_word_without_a_token_is_not_used() -> None:
    class Mute(LetterTeacher):
        def _ids(self, word: str) -> list[int]:
            return [] if word == "cat" else super()._ids(word)

    assert verbalize(Mute(), labels("cat", "dog")).coded


def test_codes_are_only_tokenized_where_words_collide() -> None:
    class Counting(LetterTeacher):
        tokenized = 0

        def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
            self.tokenized += len(texts)
            return super().tokenize(texts)

    for words, asked in ((("cat", "dog"), 2), (("cat", "cow"), 4), (["same"] * 27, 27 + 676 + 27)):
        teacher = Counting()
        verbalize(teacher, labels(*words))
        assert teacher.tokenized == asked


class SpaceTeacher(LetterTeacher):
    """Begins every text with a token for a space, as SentencePiece does, and has one per word."""

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        # " cat" is "▁" and "▁cat", and ": cat" is "▁", ":" and "▁cat".
        return [
            [
                0,
                *(
                    sum(ord(char) * 256**at for at, char in enumerate(word))
                    for word in text.split()
                ),
            ]
            for text in texts
        ]


@pytest.mark.parametrize("allow_codes", [False, True])
def test_a_space_with_a_token_of_its_own_is_no_label(allow_codes: bool) -> None:
    found = verbalize(SpaceTeacher(), labels("cat", "cow", "eel"), allow_codes)
    assert (found.words, found.coded) == (("cat", "cow", "eel"), False)
    assert len({*found.tokens} - {0}) == 3


def test_the_prompt_shows_the_shots_in_order_and_the_codes() -> None:
    plain = scorer(WordTeacher(obliging), shots=SHOTS[::-1]).prompt(Query("what is this"))
    assert [
        line.removeprefix("Answer:").strip()
        for line in plain.splitlines()
        if line.startswith("Answer:")
    ] == ["food"] * 2 + ["tool"] * 2 + ["animal"] * 2 + [""]
    assert plain.endswith("Text: what is this\nAnswer:")
    coded = scorer(LetterTeacher(), labels("cat", "cow")).prompt(Query("what is this"))
    assert coded.startswith("A: say cat number 0\nB: say cow number 1\n")


def test_distributions_come_in_order() -> None:
    texts = [make_text(name, n) for n, name in enumerate(["Food", "Animal", "Tool", "Food"])]
    heard: list[Reply] = []
    scored = scorer(WordTeacher(obliging)).score(queries(*texts), heard.append)
    assert [one.top for one in scored.distributions if one] == ["Food", "Animal", "Tool", "Food"]
    assert scored.errors == {}
    assert len(heard) == 4
    assert scorer(WordTeacher(obliging)).score([]).distributions == ()


def test_off_label_mass_and_raw() -> None:
    teacher = WordTeacher(lambda request: [math.log(0.3), math.log(0.15), math.log(0.15)])
    (found,) = (
        scorer(teacher, calibrator=BatchCalibration([0.2, 0.2, 0.6]))
        .score(queries("one text"))
        .distributions
    )
    assert found is not None
    assert found.labels == NAMES
    assert found.off_label_mass == pytest.approx(0.4)
    assert found.raw == pytest.approx((0.5, 0.25, 0.25))
    # With a single text, the prior is all the information there is.
    assert found.probabilities == pytest.approx((0.2, 0.2, 0.6))


def test_mass_above_one_by_rounding_is_no_negative_mass() -> None:
    (found,) = (
        scorer(WordTeacher(lambda request: [1e-7, -30.0, -30.0]))
        .score(queries("one text"))
        .distributions
    )
    assert found is not None
    assert found.off_label_mass == 0.0


def test_the_calibrator_sees_the_whole_batch_at_once() -> None:
    seen = []

    class Watching(NoCalibration):
        def transform(self, logprobs: Any, asked: Any = None) -> Any:
            seen.append(logprobs.shape)
            return super().transform(logprobs, asked)

    scorer(WordTeacher(obliging), calibrator=Watching()).score(
        queries(*(make_text("Tool", n) for n in range(5)))
    )
    assert seen == [(5, 3)]


def test_many_labels_are_scored_in_groups() -> None:
    space = labels(*[f"word{n}" for n in range(MAX_CHOICES + 5)])
    teacher = WordTeacher(
        lambda request: [-0.5 if token == best else -9.0 for token in request.choices]
    )  # type: ignore[union-attr]
    subject = scorer(teacher, space)
    best = subject.verbalizer.tokens[130]
    scored = subject.score(queries("first text", "second text"))
    assert [request.id for request in teacher.scorings()] == ["0.0", "0.1", "1.0", "1.1"]
    assert [len(request.choices) for request in teacher.scorings()] == [MAX_CHOICES, 5] * 2
    assert teacher.asked[0].prompt == teacher.asked[1].prompt
    for found in scored.distributions:
        assert found is not None
        assert found.top == "L130"
        assert len(found.probabilities) == MAX_CHOICES + 5


def test_one_failed_group_fails_its_text_alone() -> None:
    space = labels(*[f"word{n}" for n in range(MAX_CHOICES + 5)])

    def script(request: Request) -> Any:
        assert isinstance(request, ScoreRequest)
        return (
            Reply(request.id, error="lost")
            if request.id == "0.1"
            else [-1.0] * len(request.choices)
        )

    scored = scorer(WordTeacher(script), space).score(queries("first text", "second text"))
    assert scored.errors == {0: "lost"}
    assert scored.distributions[0] is None
    assert scored.distributions[1] is not None


def test_failures_are_kept_by_place() -> None:
    texts = [make_text("Food", 1), "broken one", make_text("Tool", 2), "broken two"]
    scored = scorer(WordTeacher(lambda request: failing_on("broken", request))).score(
        queries(*texts)
    )
    assert scored.errors == {1: "too long", 3: "too long"}
    assert [one.top if one else None for one in scored.distributions] == [
        "Food",
        None,
        "Tool",
        None,
    ]


def test_all_failed_is_an_error() -> None:
    with pytest.raises(
        TeacherError, match="None of 2 scoring requests was answered; the first says: too long"
    ):
        scorer(WordTeacher(lambda request: failing_on("broken", request))).score(
            queries("broken one", "broken two")
        )


def test_contextual_is_fitted_on_content_free_texts_and_no_gold() -> None:
    teacher = WordTeacher(lambda request: [-0.1, -2.0, -3.0])
    subject = scorer(teacher, calibrator=ContextualCalibration())
    assert subject.fit(gold(DEV)) == 0
    assert [scored_text(request.prompt) for request in teacher.asked] == ["N/A", "[MASK]", "…"]
    (found,) = subject.score(queries("a real text")).distributions
    assert found is not None
    assert found.probabilities == pytest.approx((1 / 3,) * 3, abs=1e-6)


def test_contextual_without_any_answer_is_an_error() -> None:
    subject = scorer(
        WordTeacher(lambda request: Reply(request.id, error="too long")),
        calibrator=ContextualCalibration(),
    )
    with pytest.raises(TeacherError, match="too long"):
        subject.fit()


def test_temperature_counts_the_gold_that_it_used() -> None:
    teacher = WordTeacher(lambda request: failing_on(DEV[0].text, request))
    subject = TextLabeller(teacher, LABELS, PROMPTS, (), TemperatureCalibration())
    assert subject.fit([*DEV, Example("unlabelled", "who knows")]) == len(DEV) - 1
    assert [scored_text(request.prompt) for request in teacher.asked] == [
        example.text for example in DEV
    ]
    assert subject.label([Draft(make_text("Tool", 3))]).opinions[0].distribution.top == "Tool"  # type: ignore[union-attr]


def test_a_labeller_of_texts_gives_opinions_by_place() -> None:
    texts = [make_text("Food", 1), "broken one", make_text("Tool", 2)]
    teacher = WordTeacher(lambda request: failing_on("broken", request))
    subject = TextLabeller(
        teacher, LABELS, PROMPTS, [*SHOTS, Example("unlabelled", "who knows")], NoCalibration()
    )
    labelled = subject.label([Draft(text) for text in texts])
    assert [
        opinion.target(opinion.distribution.top) if opinion else None
        for opinion in labelled.opinions
    ] == ["Food", None, "Tool"]
    assert (labelled.errors, labelled.asked, labelled.failed) == ({1: "too long"}, 3, 1)
    assert teacher.asked == subject.requests([Draft(text) for text in texts])
    assert "who knows" not in teacher.asked[0].prompt


@pytest.mark.parametrize("calibrator", [NoCalibration(), BatchCalibration()])
def test_the_others_need_no_fitting(calibrator: Any) -> None:
    teacher = WordTeacher(obliging)
    assert scorer(teacher, calibrator=calibrator).fit(gold(DEV)) == 0
    assert teacher.asked == []


def test_prompts_that_were_foreseen_are_not_rendered_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rendered: list[object] = []
    render = type(PROMPTS).render

    def counted(self: Any, kind: str, /, **variables: Any) -> Any:
        rendered.append(variables.get("text"))
        return render(self, kind, **variables)

    monkeypatch.setattr(type(PROMPTS), "render", counted)
    teacher = WordTeacher(obliging)
    subject = scorer(teacher, shots=SHOTS)
    rendered.clear()
    asked = queries("rain in Bath", "play some jazz")
    foreseen = subject.requests(asked)
    assert len(rendered) == 2
    subject.score(asked)
    assert len(rendered) == 2
    assert teacher.asked == foreseen
    # Other texts, and the same ones once more, are.
    subject.requests(asked)
    subject.score(asked[:1])
    subject.score(asked)
    assert len(rendered) == 2 + 2 + 1 + 2


def test_a_large_batch_is_asked_in_parts_and_calibrated_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [
        make_text("Food", 1),
        "broken one",
        *(make_text("Tool", n) for n in range(4)),
        "broken",
    ]
    batches: list[int] = []

    class Watching(WordTeacher):
        def ask(self, requests: Sequence[Request], on_reply: Any = None) -> list[Reply]:
            batches.append(len(requests))
            return super().ask(requests, on_reply)

    def scored() -> Any:
        teacher = Watching(lambda request: failing_on("broken", request))
        return scorer(teacher, calibrator=BatchCalibration()).score(queries(*texts))

    whole = scored()
    monkeypatch.setattr("tutelage.labelling.scoring._AT_ONCE", 3)
    assert scored() == whole
    assert batches == [7, 3, 3, 1]
    assert sorted(whole.errors) == [1, 6]
