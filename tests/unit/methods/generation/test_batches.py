"""Several texts a request: which ones, in what prompt, and how the reply is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.classification import LABELS, WordTeacher, prompt_set

from tutelage.methods.generation.acceptance import Acceptance
from tutelage.methods.generation.batches import batch_sampling, batches_of, matched
from tutelage.methods.generation.specs import Candidate, GenerationSpec, Shown
from tutelage.methods.generation.writer import Writer
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.teacher.base import Chat, GenerateRequest, Reply, Sampling
from tutelage.teacher.structured import completed

ANIMAL, TOOL, _ = LABELS
SPEC = GenerationSpec(TOOL, "easy", (Shown("lend me a saw"),), ("p1",))
SAW, DRILL = "could I have a saw", "may I borrow a drill"
NAMED = replace(SPEC, mentions=("Ada",))


def writer(count: int = 8, prompts: str = "chat_classification") -> Writer:
    return Writer(prompt_set(prompts), Sampling(stop=("\n",)), texts_per_request=count)


def texts(*items: str, **more: Any) -> Reply:
    return Reply("0", text=json.dumps({"texts": items}), **more)


def write(reply: Reply, specs: Sequence[GenerationSpec], **settings: Any) -> list[Candidate]:
    return writer(**settings).write(WordTeacher(lambda _: reply), specs, 1, 1, labels=LABELS)


_SPECS = st.lists(
    st.builds(
        replace,
        st.just(SPEC),
        label=st.sampled_from(LABELS),
        kind=st.sampled_from(["easy", "hard", "init"]),
        confused_with=st.sampled_from([None, ANIMAL]),
        style=st.sampled_from(["", "polite"]),
        demonstrations=st.sampled_from([(), (Shown("a drill"),)]),
    ),
    max_size=30,
)


@given(_SPECS, st.integers(1, 9), st.integers(1, 2000))
def test_a_batch_has_texts_of_one_kind(specs: list[GenerationSpec], most: int, tokens: int) -> None:
    batches = batches_of(specs, most, tokens)
    assert sorted(draw for batch in batches for draw in batch.draws) == list(range(len(specs)))
    assert [batch.draws[0] for batch in batches] == sorted(batch.draws[0] for batch in batches)
    for batch in batches:
        count = len(batch.specs)
        assert 1 <= count <= most
        assert count == 1 or batch_sampling(Sampling(max_tokens=tokens), count).max_tokens < 1100
        assert [specs[draw] for draw in batch.draws] == list(batch.specs)
        (first, *others) = batch.specs
        for other in others:
            assert (first.label, first.kind, first.confused_with, first.style) == (
                (other.label, other.kind, other.confused_with, other.style)
            )
            assert first.kind != "init" or first.demonstrations == other.demonstrations
    # Only the last batch of its kind may have room left.
    if most > 1:
        assert len(batches_of([SPEC] * 20, 8, 40)) == 3


def test_rewritings_of_a_sentence_share_a_request() -> None:
    one = replace(NAMED, template="rewrite", instruction="Make it shorter.")
    two = replace(one, instruction="Make it longer.")
    other = replace(one, demonstrations=(Shown("another"),))
    (first, second) = writer(prompts="chat_ner").requests([one, other, two], 1, 1)
    assert "1. Make it shorter.\n2. Make it longer." in str(first.prompt)
    assert "2." not in str(second.prompt)


def test_completions_and_single_texts_are_asked_for_one_by_one() -> None:
    for one in (writer(8, "completion_classification"), writer(1)):
        first, second = one.requests([SPEC, SPEC], 1, 1)
        assert not first.json_schema
        assert first.sampling.max_tokens == Sampling().max_tokens
        assert first.prompt == second.prompt


def test_a_list_is_asked_for_with_room_for_all_of_its_texts() -> None:
    more = replace(SPEC, demonstrations=(Shown("a hammer"), Shown("lend me a saw")))
    (request,) = writer().requests([SPEC, more, SPEC], 1, 1)
    assert isinstance(request.prompt, Chat)
    assert str(request.prompt).count("lend me a saw") == 1
    assert "a hammer" in str(request.prompt)
    assert "3 more examples" in str(request.prompt)
    assert request.sampling.max_tokens > 3 * Sampling().max_tokens
    assert request.sampling.stop == ()
    schema = json.loads(request.json_schema)["properties"]["texts"]
    assert (schema["maxItems"], schema["minItems"]) == (3, 0)


def test_what_is_shown_looks_as_if_the_teacher_had_written_it() -> None:
    """A small teacher copies texts that its request lists."""
    quoted = 'a "red" \\ saw'
    mistake = {"text": quoted, "target": TOOL, "predicted": ANIMAL}
    spec = replace(SPEC, kind="hard", mistakes=(mistake,), confused_with=ANIMAL)
    (request,) = writer().requests([spec, spec], 1, 1)
    assert isinstance(request.prompt, Chat)
    _, asked, replied, again, wrong, last = request.prompt.messages
    assert (asked.role, replied.role, last.role) == ("user", "assistant", "user")
    assert json.loads(replied.content) == {"texts": ["lend me a saw"]}
    assert "takes for animal" in again.content
    assert "takes for" not in asked.content
    assert json.loads(wrong.content) == {"texts": [quoted]}
    assert "2 more examples" in last.content
    assert "saw" not in last.content
    # One text a request: plain replies.
    single = writer(1).requests([spec], 1, 1)[0].prompt
    assert isinstance(single, Chat)
    assert [one.content for one in single.messages if one.role == "assistant"] == [
        "lend me a saw",
        quoted,
    ]
    # Without examples nothing is "more".
    assert "1 new example " in str(writer().requests([replace(SPEC, demonstrations=())], 1, 1)[0])


def test_seeds_are_those_of_the_first_text() -> None:
    both, other = writer().requests([SPEC, replace(SPEC, kind="hard"), SPEC], 1, 1)
    alone = writer(1).requests([SPEC] * 2, 1, 1)
    assert [both.seed, other.seed] == [one.seed for one in alone]
    assert [both.id, other.id] == ["0", "1"]


def test_each_text_of_a_reply_is_a_candidate_and_the_others_have_a_reason() -> None:
    written = write(texts(f"1. {SAW}", "lend me a saw", "tool: " + DRILL), [SPEC] * 5)
    assert [(one.text, one.reason) for one in written] == [
        (SAW, ""),
        ("lend me a saw", ""),
        (DRILL, ""),
        ("", "the reply has 3 of 5 texts"),
        ("", "the reply has 3 of 5 texts"),
    ]
    assert [one.draw for one in written] == [0, 1, 2, 3, 4]
    assert [one.shared for one in written] == [False, True, True, True, True]
    assert not any(one.failed for one in written)


def test_texts_beyond_those_asked_for_are_ignored() -> None:
    assert [one.text for one in write(texts(SAW, DRILL, "more"), [SPEC] * 2)] == [SAW, DRILL]


def test_a_text_keeps_its_lines() -> None:
    (one, _) = write(texts("Dear all,\n\n I need  a saw.\nNote: this is a text.", ""), [SPEC] * 2)
    assert one.text == "Dear all,\n\nI need a saw."


def test_a_list_cut_short_is_no_fault_of_its_texts() -> None:
    written = write(texts(SAW, finish_reason="length"), [SPEC] * 2)
    assert [one.reason for one in written] == ["", "cut off at max_tokens"]


def test_a_text_that_was_never_finished_is_out_but_its_request_answered() -> None:
    """Engines check a reply themselves, so they leave an empty list of one that rambles on."""
    rambling = '{"texts": ["could I have a saw? Could I have a saw and a'
    request = writer().requests([SPEC], 1, 1)[0]
    text, mismatch = completed(rambling, "length", request.json_schema)
    assert not mismatch
    (one,) = write(Reply("0", text=text, finish_reason="length"), [SPEC])
    assert (one.text, one.reason, one.failed) == ("", "cut off at max_tokens", False)
    # What ended by itself was not cut short.
    assert completed(rambling, "stop", request.json_schema)[1]


@pytest.mark.parametrize("reply", [Reply("0", error="lost"), Reply("0", text="no JSON")])
def test_a_failed_request_fails_all_of_its_texts_and_counts_once(reply: Reply) -> None:
    written = write(reply, [SPEC] * 3)
    assert all(one.failed and one.reason.startswith("request failed") for one in written)
    done = Acceptance(None, LabelAgreement(), _Nothing()).apply(
        written, writer(), 1, lambda _: None
    )
    assert (done.asked, done.failed, done.rejected) == (1, 1, 0)
    assert len(done.rows) == 3


def test_requests_are_counted_and_repeats_within_a_reply_are_found() -> None:
    written = write(texts(SAW, SAW), [SPEC] * 3)
    done = Acceptance(None, LabelAgreement(), _Known()).apply(written, writer(), 1, lambda _: None)
    assert [row.reason for row in done.rows] == [
        "",
        "exact duplicate of pool",
        "the reply has 2 of 3 texts",
    ]
    assert (done.asked, done.failed, done.rejected) == (1, 0, 2)


class _Nothing:
    def add(self, text: str, kind: str) -> None:
        pass

    def check(self, text: str) -> Any:
        return None


class _Known(_Nothing):
    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, text: str, kind: str) -> None:
        self._texts.append(text)

    def check(self, text: str) -> Any:
        from tutelage.data.dedup import Duplicate

        return Duplicate("exact", text, "pool", 1.0) if text in self._texts else None


def test_each_sentence_has_the_names_of_its_line() -> None:
    specs = [
        NAMED,
        replace(SPEC, mentions=("Bo", "Rome"), types=("Tool", "Animal"), links=("",)),
        replace(SPEC, mentions=("so",), types=("O",)),
    ]
    (request,) = writer(prompts="chat_ner").requests(specs, 1, 1, LABELS)
    for line in ("1. Ada\n", "2. Bo; Rome (animal)\n", "3. so (an ordinary word"):
        assert line in str(request.prompt)
    said = texts("Bo met her in Rome.", "There was Ada, Bo wrote.", "It is not so far.")
    one, two, three = write(said, specs, prompts="chat_ner")
    assert (one.text, one.reason) == ("There was Ada , Bo wrote .", "")
    assert [span[:2] for span in one.spans] == [(2, 3)]
    assert (two.text, [span.type for span in two.kept]) == ("Bo met her in Rome .", ["Animal"])
    assert (three.reason, three.entities) == ("", ())


def test_a_sentence_may_begin_with_a_name_that_has_a_line_of_its_own() -> None:
    names = ("The Old Royal Bank", "The New Royal Bank")
    said = texts(*(f"{name} opened in May." for name in names))
    specs = [replace(SPEC, mentions=(name,)) for name in names]
    assert [one.reason for one in write(said, specs, prompts="chat_ner")] == ["", ""]


def test_a_sentence_without_its_name_is_kept_with_its_reason() -> None:
    said = texts("Nobody was there.", "Then came Bo.")
    one, two = write(said, [replace(SPEC, mentions=("Bo",)), NAMED], prompts="chat_ner")
    assert (one.text, one.reason) == ("Then came Bo .", "")
    assert (two.text, two.reason) == ("Nobody was there .", "does not hold 'Ada'")


@given(
    st.lists(st.sampled_from(["Ada came", "Bo came", "nobody came"]), max_size=6),
    st.lists(st.sampled_from([(), ("Ada",), ("Bo",)]), min_size=1, max_size=5),
)
def test_no_text_is_taken_twice_and_none_is_lost(
    said: list[str], names: list[tuple[str, ...]]
) -> None:
    found = matched(said, [replace(SPEC, mentions=one) for one in names])
    taken = [text for text in found if text is not None]
    assert sorted(taken) == sorted(said[: len(names)])


def test_a_hard_chat_shows_the_mistakes_of_all_of_its_texts() -> None:
    specs = [
        replace(
            SPEC,
            kind="hard",
            confused_with=ANIMAL,
            analysis="It knows no tools.",
            mistakes=({"text": text, "target": TOOL, "predicted": ANIMAL},),
        )
        for text in ("a drill for my cat", "a saw", "a saw")
    ]
    (request,) = writer().requests(specs, 1, 1)
    prompt = str(request.prompt)
    assert prompt.count('"a saw"') == 1
    assert "which a small model takes for animal." in prompt
    assert '"a drill for my cat"' in prompt
    assert "It knows no tools." in prompt
    assert "mixed up with questions about an animal" in prompt


def test_requests_are_generate_requests_with_ids_of_their_own() -> None:
    requests = writer(2).requests([SPEC] * 5, 1, 1)
    assert [request.id for request in requests] == ["0", "2", "4"]
    assert all(isinstance(request, GenerateRequest) for request in requests)
    assert len({request.seed for request in requests}) == 3
