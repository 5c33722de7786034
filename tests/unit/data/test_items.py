"""Token-level items: targets and weights at first tokens, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.tiny_student import tiny_tokenizer
from tests.unit.tasks.test_spans import markings

from tutelage.data.items import Item, ItemEncoder
from tutelage.errors import ConfigError
from tutelage.records import Label, Row
from tutelage.tasks.markings import from_spans
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import (
    Span,
    cut_at,
    first_pieces,
    from_characters,
    from_tags,
    joined,
    read_spans,
    split_words,
    strict_tags,
    to_characters,
    to_tags,
    write_spans,
)

TYPES = ("PER", "LOC", "work-of_art")
TASK = NerTask([Label(name, name, name) for name in TYPES])
TOKENIZER = tiny_tokenizer(["anna", "left"])


def encoded(
    texts: Sequence[str], targets: Sequence[str], longest: int = 32, weight: float = 0.5
) -> tuple[ItemEncoder, list[Item]]:
    encoder = ItemEncoder(TASK, TOKENIZER, longest)
    rows = [
        Row(f"r{n}", text, target, "gold", 0, True, weight=weight)
        for n, (text, target) in enumerate(zip(texts, targets, strict=True))
    ]
    return encoder, encoder.encode(rows)


def names(vectors: torch.Tensor) -> list[str]:
    return [TASK.outputs[index] for index in vectors.argmax(dim=-1).tolist()]


def test_targets_and_weights_stand_at_first_sub_tokens_only() -> None:
    target = write_spans([Span(0, 2, "PER")])
    encoder, items = encoded(["anna xyz left", "left"], [target, "[]"])
    assert items[0].indices == (1, 2, 5)
    assert len(items[0].vectors) == 3
    batch = encoder.collate(enumerate(items))
    assert batch["targets"].shape == (2, 7, 7)
    assert batch["weights"].tolist() == [[0, 0.5, 0.5, 0, 0, 0.5, 0], [0, 0.5, 0, 0, 0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1] * 7, [1, 1, 1, 0, 0, 0, 0]]
    assert names(batch["targets"][0, [1, 2, 5]]) == ["B-PER", "I-PER", "O"]
    assert batch["targets"].sum(dim=-1).tolist() == [[0, 1, 1, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0, 0]]
    assert (batch["targets"].dtype, batch["weights"].dtype) == (torch.float32, torch.float32)


def test_words_have_weights_of_their_own() -> None:
    encoder = ItemEncoder(NerTask(TASK.labels, word_weights="confidence"), TOKENIZER, 5)
    target = write_spans([Span(0, 1, "PER"), Span(2, 4, "LOC")])
    row = Row(
        "r",
        "anna \u200b left xyz",
        target,
        "hard",
        1,
        True,
        weight=0.5,
        entity_confidence=(0.25, 0.5),
    )
    # The tokenizer drops one word, and only the first token of the last word is kept.
    assert encoder.collate(enumerate(encoder.encode([row])))["weights"].tolist() == [
        [0, 0.125, 0.25, 0.25, 0]
    ]


@pytest.mark.parametrize(
    ("longest", "indices", "weighted"),
    [(7, (1, 2, 5), 3), (6, (1, 2, -1), 2), (4, (1, 2, -1), 2), (3, (1, -1, -1), 1)],
)
def test_a_cut_inside_an_entity_keeps_its_beginning(
    longest: int, indices: tuple[int, ...], weighted: int
) -> None:
    encoder, (item,) = encoded(["anna xyz left"], [write_spans([Span(0, 3, "PER")])], longest)
    assert item.indices == indices
    assert encoder.truncated == (longest < 7)
    batch = encoder.collate([(0, item)])
    assert int((batch["weights"] > 0).sum()) == weighted
    assert names(batch["targets"][batch["weights"] > 0]) == ["B-PER", "I-PER", "I-PER"][:weighted]
    values = torch.eye(7)[: len(item.token_ids)]
    read = item.read(values)
    assert read == [values[index].tolist() if index >= 0 else None for index in indices]
    assert len(TASK.read(read).tags) == 3


def test_words_that_the_tokenizer_drops_have_no_token() -> None:
    encoder, items = encoded(
        ["anna \u200b left", "\u200b"],
        [write_spans([Span(0, 3, "LOC")]), write_spans([Span(0, 1, "LOC")])],
    )
    assert [item.indices for item in items] == [(1, -1, 2), (-1,)]
    batch = encoder.collate(enumerate(items))
    assert batch["weights"].tolist() == [[0, 0.5, 0.5, 0], [0, 0, 0, 0]]
    assert items[1].read(torch.zeros(2, 7)) == [None]


@given(markings(), st.data())
def test_a_perfect_student_is_read_as_the_target(
    marking: tuple[list[Span], int], data: st.DataObject
) -> None:
    spans, length = marking
    words = data.draw(
        st.lists(
            st.sampled_from(["anna", "xyz", "a-b", "you're", "…", "7"]),
            min_size=length,
            max_size=length,
        )
    )
    longest = data.draw(st.integers(3, 80))
    encoder, (item,) = encoded([" ".join(words)], [write_spans(spans)], longest)
    batch = encoder.collate([(0, item)])
    seen = [index >= 0 for index in item.indices]
    assert (batch["weights"][0] > 0).sum() == sum(seen)
    # Words are cut off only at the end.
    assert seen == sorted(seen, reverse=True)
    kept = to_tags(spans, length)[: sum(seen)] + ["O"] * (length - sum(seen))
    assert TASK.read(item.read(batch["targets"][0])).predicted == write_spans(from_tags(kept))


GAPS = ("", " ", ", ", " left \u200b ", "\u200b", "\u200e ", " \u200e", " 7 ")


@given(
    st.sampled_from(["anna", "anna xyz", "a-b", "anna\u200bxyz", "Anna…"]),
    st.lists(st.tuples(st.sampled_from(GAPS), st.booleans()), min_size=2, max_size=4),
    st.sampled_from(GAPS),
)
def test_a_repeated_mention_goes_from_characters_to_sub_tokens_and_back(
    mention: str, parts: list[tuple[str, bool]], last: str
) -> None:
    text, indices = "", []
    for gap, marked in parts:
        text += gap
        indices += [(len(text), len(text) + len(mention))] if marked else []
        text += mention
    text += last
    inside, target = from_spans("a:1", text, [[*index, "PER"] for index in indices])
    assert target is not None
    encoder, (item,) = encoded([inside], [target], longest=100)
    # A word dropped by the tokenizer has no token, so it is never learnt; here it is outside of
    # every entity.
    assert {
        word for word, index in zip(inside.split(" "), item.indices, strict=True) if index < 0
    } <= {"\u200b", "\u200e"}
    batch = encoder.collate([(0, item)])
    found = TASK.read(item.read(batch["targets"][0])).predicted
    assert found == target
    words = cut_at(split_words(text), [edge for index in indices for edge in index])
    assert [to_characters(words, span) for span in read_spans(found)] == indices


@given(st.text(min_size=1, max_size=40).filter(split_words), st.data())
def test_entities_of_any_text_go_from_characters_to_sub_tokens_and_back(
    text: str, data: st.DataObject
) -> None:
    words = split_words(text)
    inside = joined(text, words)
    _, (bare,) = encoded([inside], ["[]"], longest=500)
    tags = data.draw(
        st.lists(
            st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]),
            min_size=len(words),
            max_size=len(words),
        )
    )
    # A word dropped by the tokenizer is never learnt, so no entity may contain one.
    spans = [
        span
        for span in from_tags(strict_tags(tags))
        if min(bare.indices[span.start : span.end]) >= 0
    ]
    encoder, (item,) = encoded([inside], [write_spans(spans)], longest=500)
    found = TASK.read(item.read(encoder.collate([(0, item)])["targets"][0])).predicted
    assert found == write_spans(spans)
    edges = [to_characters(words, span) for span in read_spans(found)]
    assert [
        from_characters(words, *edge, span.type) for edge, span in zip(edges, spans, strict=True)
    ] == spans
    assert [
        joined(text, [word for word in words if start <= word[0] < end]) for start, end in edges
    ] == [" ".join(inside.split(" ")[span.start : span.end]) for span in spans]


def test_places_are_those_of_the_tokenizer() -> None:
    words = ["anna", "bcd", "you're", "left"]
    _, (item,) = encoded([" ".join(words)], ["[]"])
    assert item.indices == first_pieces(TOKENIZER([words], is_split_into_words=True).word_ids(0), 4)
    assert item.token_ids == tuple(TOKENIZER([words], is_split_into_words=True)["input_ids"][0])


def test_a_tokenizer_that_knows_no_words_is_refused() -> None:
    class Slow:
        pad_token_id, is_fast, name_or_path = 0, False, "old/one"

        def num_special_tokens_to_add(self) -> int:
            return 2

    tokenizer: Any = Slow()
    with pytest.raises(
        ConfigError,
        match=r"tokenizer of old/one is not a fast one, .*student.model=",
    ):
        ItemEncoder(TASK, tokenizer, 16)
