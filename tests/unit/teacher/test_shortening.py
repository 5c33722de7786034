"""Cut texts: at most so many tokens, beginning and end, and no broken character."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tutelage.teacher.base import Prompt
from tutelage.teacher.shortening import GAP, Shortener, estimated_tokens


def byte_ids(texts: Sequence[Prompt]) -> list[list[int]]:
    """Tokens are bytes, as those of the smallest tokenizers."""
    return [list(str(text).encode("utf-8", "surrogatepass")) for text in texts]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
ACCENTS = st.lists(
    st.sampled_from(["e\u0301", "क्षि", "👍🏽", "👩\u200d🔬", "雨", " ", "ab"]), max_size=120
)


@given(st.one_of(TEXTS, ACCENTS.map("".join)), st.integers(16, 80))
def test_a_cut_text_has_at_most_so_many_tokens(text: str, limit: int) -> None:
    for tokenize in (byte_ids, None):
        subject = Shortener(tokenize)
        cut = subject.cut(text, limit)
        assert subject.count(cut) <= limit
        if subject.count(text) <= limit:
            assert cut == text


@given(ACCENTS.map("".join).map(str.strip), st.integers(24, 80))
def test_no_character_is_broken(text: str, limit: int) -> None:
    cut = Shortener(byte_ids).cut(text, limit)
    if cut == text:
        return
    head, _, tail = (part.strip() for part in cut.partition(GAP.strip()))
    assert text.startswith(head)
    assert text.endswith(tail)
    for rest in (tail, text[len(head) :]):
        assert not (rest and unicodedata.category(rest[0])[0] == "M")
        assert not rest.startswith(("\u200d", "🏽"))


def test_a_long_text_fills_its_limit() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 200
    cut = Shortener(byte_ids).cut(text, 400)
    assert 340 <= len(cut) <= 400
    assert GAP in cut


def test_estimates() -> None:
    assert estimated_tokens("four") == 1
    assert estimated_tokens("雨天") == 2
    assert not Shortener().exceeds("short", 16)
