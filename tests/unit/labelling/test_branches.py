"""Labels of several tokens against slow references: every token of every label, one by one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.classification import prompt_set
from tests.helpers.doubles import ScriptedTeacher
from tests.helpers.tiny_teacher import tiny_teacher

from tutelage.labelling.branches import NEGLIGIBLE, branch_of
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.scoring import LabelScorer, Query
from tutelage.labelling.verbalizer import verbalize
from tutelage.records import Label
from tutelage.teacher.base import Chat, Prompt, Reply, Request, ScoreRequest
from tutelage.teacher.engines.local import LocalTeacher

CHAT = prompt_set("chat_classification")
LETTERS = "abc "
END = "."


class LetterModel(ScriptedTeacher):
    """A model of next letters, which ends a message with a full stop; tokens are letters.

    Without ``knows_ends`` its template leaves out what the assistant said before.
    """

    def __init__(self, peak: float = 0.0, knows_ends: bool = True) -> None:
        super().__init__(self._scores)
        self._peak = peak
        self._knows_ends = knows_ends

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        return [[ord(letter) for letter in self._text(text)] for text in texts]

    def _text(self, prompt: Prompt) -> str:
        if isinstance(prompt, str):
            return prompt
        last = prompt.messages[-1]
        closed = "".join(
            f"{one.role}:{one.content if self._knows_ends or one.role != 'assistant' else '?'}{END}"
            for one in prompt.messages[:-1]
        )
        if prompt.is_prefilled:
            return f"{closed}assistant:{last.content}"
        return f"{closed}{last.role}:{last.content}{END}assistant:"

    def probability(self, text: str, letter: str) -> float:
        def weight(one: str) -> float:
            digest = hashlib.sha256(f"{text}|{one}".encode()).digest()
            return math.exp(4 * digest[0] / 255) + self._peak * (one == "a")

        return weight(letter) / sum(map(weight, LETTERS + END))

    def _scores(self, request: Request) -> list[float]:
        assert isinstance(request, ScoreRequest)
        text = self._text(request.prompt)
        return [math.log(self.probability(text, chr(one))) for one in request.choices]


def space(words: Sequence[str]) -> list[Label]:
    return [Label(word, word, word) for word in words]


def scorer(teacher: ScriptedTeacher | LocalTeacher, words: Sequence[str]) -> LabelScorer:
    return LabelScorer(teacher, space(words), CHAT, (), NoCalibration())


def expected(teacher: LetterModel, prompt: Prompt, words: Sequence[str]) -> list[float]:
    """The product of a word's next-letter probabilities wherever some other word differs."""
    begun = teacher._text(prompt)
    ended = [f"{word}{END}" for word in words]
    found = []
    for word in ended:
        product = 1.0
        for at, letter in enumerate(word):
            rivals = {one[at] for one in ended if one[:at] == word[:at]}
            product *= teacher.probability(begun + word[:at], letter) if len(rivals) > 1 else 1.0
        found.append(product)
    return found


some_words = st.lists(st.text("abc", min_size=1, max_size=4), min_size=2, max_size=9, unique=True)


@settings(deadline=None, max_examples=60)
@given(some_words)
def test_every_label_has_the_product_of_its_forks(words: list[str]) -> None:
    teacher = LetterModel()
    subject = scorer(teacher, words)
    query = Query("which one")
    result = subject.score([query])
    (found,) = result.distributions
    assert found is not None
    truth = expected(teacher, subject.prompt(query), words)
    best = max(truth)
    # The labels of a hopeless beginning share its probability.
    for word, mass, true in zip(words, found.raw, truth, strict=True):
        assert mass * sum(truth) == pytest.approx(true, rel=1e-3, abs=2 * NEGLIGIBLE * best), word
    assert set(map(repr, teacher.asked)) <= set(map(repr, subject.requests([query])))


@given(some_words)
def test_all_labels_are_leaves_of_the_tree_once(words: list[str]) -> None:
    verbalizer = verbalize(LetterModel(), space(words), chat=CHAT_PROMPT)
    tree = branch_of(verbalizer, range(len(words)))
    assert sorted(tree.labels) == list(range(len(words)))
    for branch in tree.all():
        assert len(branch.members) + (branch.ending is not None) > 1
        assert len(set(branch.choices)) == len(branch.choices)
        # What is written before and what is chosen spell the word.
        for member, shown in zip(branch.members, branch.words, strict=True):
            if isinstance(member, int):
                assert branch.beginning + shown == words[member]


CHAT_PROMPT = scorer(LetterModel(), ["a", "b"]).prompt(Query("text"))
assert isinstance(CHAT_PROMPT, Chat)


def test_labels_with_first_tokens_of_their_own_take_one_request() -> None:
    teacher = LetterModel()
    scorer(teacher, ["abba", "bcc", "ca"]).score([Query("one"), Query("two")])
    assert [request.id for request in teacher.asked] == ["0.0", "1.0"]


def test_a_hopeless_beginning_costs_no_request() -> None:
    teacher = LetterModel(peak=1e7)
    subject = scorer(teacher, ["a", "bb", "bc"])
    (found,) = subject.score([Query("one")]).distributions
    assert found is not None
    assert len(teacher.asked) == 1 < len(subject.requests([Query("one")]))
    assert found.raw[1] == found.raw[2] < NEGLIGIBLE


def test_where_the_end_is_unknown_a_label_gets_what_the_longer_ones_leave() -> None:
    teacher = LetterModel(knows_ends=False)
    subject = scorer(teacher, ["b", "ba", "c"])
    (found,) = subject.score([Query("one")]).distributions
    assert found is not None
    begun = teacher._text(subject.prompt(Query("one")))
    first, longer = teacher.probability(begun, "b"), teacher.probability(begun + "b", "a")
    other = teacher.probability(begun, "c")
    truth = [first * (1 - longer), first * longer, other]
    assert found.raw == pytest.approx([one / sum(truth) for one in truth], abs=1e-5)


def test_a_failed_second_request_fails_its_text_alone() -> None:
    class Failing(LetterModel):
        def _scores(self, request: Request) -> Reply | list[float]:  # type: ignore[override]
            is_deep = isinstance(request.prompt, Chat) and request.prompt.is_prefilled
            if is_deep and request.id.startswith("1."):
                return Reply(request.id, error="lost")
            return super()._scores(request)

    scored = scorer(Failing(), ["ab", "ac"]).score([Query("one"), Query("two")])
    assert scored.errors == {1: "lost"}
    assert scored.distributions[0] is not None
    assert scored.distributions[1] is None


WORDS = ("music", "music in the cafe", "museum", "mushrooms", "good food", "weather")


def test_a_model_s_own_probabilities_of_whole_labels(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = str(tiny_teacher(tmp_path))
    teacher = LocalTeacher(folder)
    subject = scorer(teacher, WORDS)
    assert not subject.verbalizer.coded
    assert len(set(subject.verbalizer.tokens)) < len(WORDS)
    query = Query("play some music")
    (found,) = subject.score([query]).distributions
    assert found is not None

    prompt = subject.prompt(query)
    assert isinstance(prompt, Chat)
    (before,) = teacher.tokenize([prompt])
    (end,) = teacher.tokenize(["<|end|>"])
    rows = [[*teacher.tokenize([prompt.prefilled(word)])[0][len(before) :], *end] for word in WORDS]
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    truth = []
    for row in rows:
        with torch.inference_mode():
            logits = model(torch.tensor([[*before, *row]])).logits[0, len(before) - 1 : -1]
        each = logits.log_softmax(-1)[range(len(row)), row].tolist()
        forks = [
            logprob
            for at, logprob in enumerate(each)
            if len({other[at] for other in rows if other[:at] == row[:at]}) > 1
        ]
        truth.append(math.exp(math.fsum(forks)))
    assert found.raw == pytest.approx([one / sum(truth) for one in truth], abs=1e-4)
