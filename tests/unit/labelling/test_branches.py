"""Labels of several tokens against slow references: every token of every label, one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.classification import prompt_set
from tests.helpers.doubles import ScriptedTeacher
from tests.helpers.letter_model import END, LetterModel
from tests.helpers.tiny_teacher import tiny_teacher

from tutelage.labelling import scoring
from tutelage.labelling.branches import NEGLIGIBLE, branch_of
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.scoring import LabelScorer, Query
from tutelage.labelling.verbalizer import verbalize
from tutelage.records import Label
from tutelage.teacher.base import Chat, Prompt, Reply, Request
from tutelage.teacher.engines.local import LocalTeacher

CHAT = prompt_set("chat_classification")


def space(words: Sequence[str]) -> list[Label]:
    return [Label(word, word, word) for word in words]


def scorer(teacher: ScriptedTeacher | LocalTeacher, words: Sequence[str]) -> LabelScorer:
    return LabelScorer(teacher, space(words), CHAT, (), NoCalibration())


def expected(teacher: LetterModel, prompt: Prompt, words: Sequence[str]) -> list[float]:
    """The product of a word's next-letter probabilities wherever some other word differs."""
    begun = teacher.read(prompt)
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
    truth = expected(teacher, subject.prompt(query), words)
    shares = [one / sum(truth) for one in truth]
    # However improbable, every beginning is followed to its end.
    with patch.object(scoring, "NEGLIGIBLE", 1e-30):
        (found,) = subject.score([query]).distributions
    assert found is not None
    assert found.raw == pytest.approx(shares, abs=2e-6)
    assert sorted(map(repr, teacher.asked)) == sorted(map(repr, subject.requests([query])))
    # Left out, it costs little, and never the top label.
    (cheap,) = subject.score([query]).distributions
    assert cheap is not None
    assert cheap.off_label_mass >= 0.0
    assert found.probability(cheap.top) == pytest.approx(found.confidence, abs=2e-6)


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
    begun = teacher.read(subject.prompt(Query("one")))
    first, longer = teacher.probability(begun, "b"), teacher.probability(begun + "b", "a")
    other = teacher.probability(begun, "c")
    truth = [first * (1 - longer), first * longer, other]
    assert found.raw == pytest.approx([one / sum(truth) for one in truth], abs=1e-5)


def test_a_failed_second_request_fails_its_text_alone() -> None:
    class Failing(LetterModel):
        def scores(self, request: Request) -> Reply | list[float]:  # type: ignore[override]
            is_deep = isinstance(request.prompt, Chat) and request.prompt.is_prefilled
            if is_deep and request.id.startswith("1."):
                return Reply(request.id, error="lost")
            return super().scores(request)

    scored = scorer(Failing(), ["ab", "ac"]).score([Query("one"), Query("two")])
    assert scored.errors == {1: "lost"}
    assert scored.distributions[0] is not None
    assert scored.distributions[1] is None


WORDS = ("music", "music in the cafe", "museum", "mushrooms", "good food", "weather")


def test_a_model_s_own_probabilities_of_whole_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = str(tiny_teacher(tmp_path))
    teacher = LocalTeacher(folder)
    monkeypatch.setattr(scoring, "NEGLIGIBLE", 1e-30)
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
