"""A label is found among a server's likely tokens, in any spelling, by any kind of tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.helpers.doubles import ScriptedTeacher
from tests.helpers.tokenizer_kinds import KINDS, LETTERS, SPELLINGS, hugging_face

from tutelage.labelling.verbalizer import verbalize
from tutelage.records import Label
from tutelage.teacher.engines.server_replies import LEAST, TopToken
from tutelage.teacher.engines.server_tokens import find, readings, spellings

LABELS = ("music", "weather", "food", "café", "the")
OTHERS = ("good", "play", "where", "of")


@cache
def tokenizer(kind: str) -> Any:
    return hugging_face(KINDS[kind]())


class TokenizingTeacher(ScriptedTeacher):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self._tokenizer = tokenizer(kind)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def first_tokens(kind: str, words: Sequence[str]) -> tuple[int, ...]:
    return verbalize(
        TokenizingTeacher(kind), [Label(word, word, word) for word in words], allow_codes=False
    ).tokens


def true_bytes(kind: str, token: int) -> bytes:
    piece = tokenizer(kind).convert_ids_to_tokens(token)
    if kind == "byte_level_bpe":
        return bytes({letter: byte for byte, letter in LETTERS.items()}[char] for char in piece)
    if piece.startswith("<0x"):
        return bytes.fromhex(piece[3:5])
    return piece.replace("▁", " ").encode()


def listed(names: Sequence[str]) -> list[TopToken]:
    return [TopToken(name, -0.5 * number) for number, name in enumerate(names, start=1)]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_label_is_found_in_every_spelling(kind: str, spelling: str):
    choices = first_tokens(kind, LABELS)
    others = tokenizer(kind)([f" {word}" for word in OTHERS], add_special_tokens=False)["input_ids"]
    tokens = dict.fromkeys([*choices, *(row[0] for row in others)])
    seen = listed([SPELLINGS[spelling](true_bytes(kind, token)) for token in tokens])
    found = find(seen, choices, spellings(tokenizer(kind), choices))
    assert found.logprobs == tuple(-0.5 * number for number in range(1, len(choices) + 1))
    assert found.missing == 0


@given(st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(SPELLINGS)), st.data())
def test_any_token_of_a_vocabulary_is_found_in_every_spelling(
    kind: str, spelling: str, data: st.DataObject
):
    ids = st.integers(0, len(tokenizer(kind)) - 1)
    choice, *others = data.draw(st.lists(ids, min_size=2, max_size=6, unique=True))
    wanted = true_bytes(kind, choice)
    rest = [true_bytes(kind, other) for other in others]
    # Without the space, or with a replaced character, two tokens can look the same.
    assume(wanted.strip() and all(one.strip() != wanted.strip() for one in rest))
    name = SPELLINGS[spelling](wanted)
    assume("\ufffd" not in name)
    names = [SPELLINGS[spelling](one) for one in rest]
    place = data.draw(st.integers(0, len(names)))
    seen = listed([*names[:place], name, *names[place:]])
    found = find(seen, [choice], spellings(tokenizer(kind), [choice]))
    assert (found.logprobs, found.missing) == ((-0.5 * (place + 1),), 0)


@pytest.mark.parametrize("kind", ["word_piece", "words"])
def test_a_server_may_show_a_space_that_the_tokenizer_does_not_have(kind: str):
    choices = first_tokens(kind, LABELS[:2])
    seen = listed([" good", " weather", " music"])
    assert find(seen, choices, spellings(tokenizer(kind), choices)).logprobs == (-1.5, -1.0)


def test_a_word_inside_another_word_is_no_label():
    (choice,) = first_tokens("byte_level_bpe", ["food"])
    known = spellings(tokenizer("byte_level_bpe"), [choice])
    assert find(listed([" the", "food", " foo"]), [choice], known).missing == 1
    assert find(listed([" the", "food", " food"]), [choice], known).logprobs == (-1.5,)
    assert find(listed(["the", "##food", "foods"]), [choice], known).missing == 1


def test_a_label_that_is_not_listed_gets_the_lowest_possible_value():
    choices = first_tokens("byte_level_bpe", ["food", "music"])
    known = spellings(tokenizer("byte_level_bpe"), choices)
    seen = [TopToken(" food", -0.1), TopToken(" the", -3.0), TopToken(" zzz", LEAST)]
    assert find(seen, choices, known).logprobs == (-0.1, -3.0)
    assert find([TopToken(" zzz", LEAST)], choices, known).logprobs == (LEAST, LEAST)


def test_ids_count_where_the_names_are_ids_or_no_name_is_known():
    named = [TopToken("token_id:5", -1.0, id=5), TopToken("token_id:9", -2.0, id=9)]
    assert find(named, [9, 7, 5], {}).logprobs == (-2.0, -2.0, -1.0)
    stated = [TopToken("?", -1.0, stated_id=5), TopToken("!", -2.0, stated_id=9)]
    assert find(stated, [9, 7], {}) == find(stated, [9, 7], {9: readings(" music")})
    # Some servers number the list instead.
    wrong = [TopToken(" music", -1.0, stated_id=9), TopToken(" food", -2.0, stated_id=7)]
    assert find(wrong, [9, 7], {9: readings(" food"), 7: readings(" music")}).logprobs == (-2, -1)


def test_bytes_tell_parts_of_characters_apart():
    parts = [TopToken("\ufffd", -1.0, raw=b" \xe9"), TopToken("\ufffd", -2.0, raw=b" \xd0")]
    known = {1: readings("<0x20><0xD0>"), 2: readings("ĠÐ")}
    assert find(parts, [1, 2], known).logprobs == (-2.0, -2.0)
    assert readings("\ufffd") == frozenset()
