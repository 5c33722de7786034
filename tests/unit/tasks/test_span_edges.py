"""Spans that cut words, and the ways of counting that explain them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.unit.data.folders import folder

from tutelage.data.sources import load_files
from tutelage.errors import DataError
from tutelage.tasks.span_edges import Edges, Marked, advice_on_offsets, check_edges, check_quotes

UTF16, BYTES = "count UTF-16 code units", "count bytes of UTF-8"


def utf16(text: str, index: int) -> int:
    return len(text[:index].encode("utf-16-le")) // 2


def utf8(text: str, index: int) -> int:
    return len(text[:index].encode())


def crlf(text: str, index: int) -> int:
    return index + text[:index].count("\n")


SHIFTS: dict[str, Callable[[str, int, int], Edges]] = {
    "the ends are inclusive: add 1 to every end.": lambda _, start, end: (start, end - 1),
    "the offsets count from 1: subtract 1 from every start and end.": lambda _, start, end: (
        start + 1,
        end + 1,
    ),
    "the offsets count from 1 and the ends are inclusive: subtract 1 from every start.": (
        lambda _, start, end: (start + 1, end)
    ),
    "the second number is a length: add the start to it.": lambda _, start, end: (
        start,
        end - start,
    ),
    UTF16: lambda text, start, end: (utf16(text, start), utf16(text, end)),
    BYTES: lambda text, start, end: (utf8(text, start), utf8(text, end)),
    "count every line end as two": lambda text, start, end: (crlf(text, start), crlf(text, end)),
}
NAMES = """Olsen|Bergen|Ünal|Łódź|Ёлкина|Москва|Θεσσαλονίκη|محمد|القاهرة|ירושלים|मीरा|दिल्ली|Việt
|Cafe\u0301|Ann-Marie|O'Neil|1999|COVID19"""
FILLERS = "🎉|👍🏽|👩\u200d🚀|❤️|𝔸𝕓|東京都|กรุงเทพ|서울에서|—|!|moved\nto|über|и|την|في"


def of(words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(re.split(r"\s?\|", words))


@st.composite
def marked_texts(draw: st.DrawFn) -> list[Marked]:
    """Sound spans over words of many scripts, between emoji, punctuation and line ends."""
    texts = []
    for number in range(draw(st.integers(3, 5))):
        text, spans = " ".join(draw(st.lists(of(FILLERS), min_size=1, max_size=6))), []
        for _ in range(draw(st.integers(1, 3))):
            name = " ".join(draw(st.lists(of(NAMES), min_size=1, max_size=2)))
            spans.append((len(text) + 1, len(text) + 1 + len(name)))
            text = " ".join([text, name, *draw(st.lists(of(FILLERS), max_size=3))])
        texts.append(Marked(f"train.jsonl:{number + 1}", text, tuple(spans)))
    return texts


def shifted(marked: list[Marked], shift: Callable[[str, int, int], Edges]) -> list[Marked]:
    return [
        Marked(where, text, tuple(shift(text, *edges) for edges in spans))
        for where, text, spans, _ in marked
    ]


@given(marked_texts())
def test_sound_spans_are_never_suspected(marked: list[Marked]) -> None:
    assert check_edges("train.jsonl", marked) == []
    assert advice_on_offsets(marked) == ""


@given(marked_texts(), st.sampled_from(sorted(SHIFTS)))
def test_every_way_of_counting_is_named(marked: list[Marked], said: str) -> None:
    wrong = shifted(marked, SHIFTS[said])
    advice = advice_on_offsets(wrong)
    # Some shifts leave spans as they are, or move them onto other words.
    assume(advice or sum(map(obvious, wrong)) >= 3)
    assert all(part in advice for part in said.rstrip(".").split(": "))


@given(
    st.lists(st.tuples(st.text(), st.lists(st.tuples(st.integers(-2, 12), st.integers(-2, 12)))))
)
def test_no_span_is_too_odd_to_look_at(given: list[tuple[str, list[Edges]]]) -> None:
    marked = [Marked("f:1", text, tuple(spans)) for text, spans in given]
    assert advice_on_offsets(marked)[:1] in ("", " ")
    try:
        check_edges("f", marked)
    except DataError as error:
        assert "begin or end inside a word" in str(error)  # noqa: PT017


def obvious(marked: Marked) -> int:
    """Number of spans that lie outside their text or cut an ASCII word."""
    text = marked.text
    return sum(
        not 0 <= start < end <= len(text)
        or any(re.fullmatch("[A-Za-z]{2}", text[max(0, edge - 1) : edge + 1]) for edge in edges)
        for edges in marked.spans
        for start, end in [edges]
    )


@pytest.mark.parametrize("said", [UTF16, BYTES, "count every line end as two"])
def test_the_advised_conversion_works(said: str) -> None:
    names = ("Mira", "Kenji", "Ada", "Bartholomew")
    texts = ["🎉é" * number + f"\n\nпо {name} Olsen" for number, name in enumerate(names, start=2)]
    sound = [Marked("f:1", text, ((text.index("по ") + 3, len(text)),)) for text in texts]
    wrong = shifted(sound, SHIFTS[said])
    found = re.search(r"replace each offset n by (len\(.*\))\.", advice_on_offsets(wrong))
    assert found
    for before, after in zip(wrong, sound, strict=True):
        code = {"text": before.text}
        assert after.spans == (tuple(eval(found[1], {**code, "n": n}) for n in before.spans[0]),)


def split(shift: Callable[[str, int, int], Edges], texts: list[str] | None = None) -> Any:
    """Rows whose second word, a name, is marked; ``shift`` moves the marks."""
    given = texts or [f"near {name} is the sea" for name in ("Bergen", "Oslo", "Turku", "Visby")]
    rows = []
    for text in given:
        start = text.index(" ") + 1
        edges = shift(text, start, text.index(" ", start))
        rows.append({"text": text, "spans": [[*edges, "LOC"]]})
    return rows


SOUND = split(lambda _, start, end: (start, end))
REST = {
    "validation": split(lambda _, start, end: (start, end), ["in Lund it rains"]),
    "test": split(lambda _, start, end: (start, end), ["to Umeå we go"]),
}


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            split(SHIFTS["the ends are inclusive: add 1 to every end."]),
            r"train.jsonl: 4 of 4 spans begin or end inside a word, such as 'Berge\|n' "
            r"\(train.jsonl:1, \[5, 10\)\). It looks as if the ends are inclusive: add 1",
        ),
        # Where the last span ends with its text, the shifted one lies outside.
        (
            [
                {"text": f"we met {name}", "spans": [[8, 8 + len(name), "PER"]]}
                for name in ("Ada", "Mira", "Ken")
            ],
            r"train.jsonl:1: the span \[8, 11\) is not a valid range of its text of 10 "
            r"characters. .*It looks as if the offsets count from 1: subtract 1 from every",
        ),
        (
            split(
                lambda *_: (1, 3),
                ["visit New York today", "greet Ada Ek there", "leave Las Vegas then"],
            ),
            r"3 of 3 spans .*It looks as if the offsets count words: give the words with tags",
        ),
        (
            split(
                lambda text, start, end: (utf16(text, start), utf16(text, end) - 1),
                [f"{'🎉' * number} Visby is near" for number in (2, 3, 4)],
            ),
            r"the ends are inclusive and the offsets count UTF-16 .*: add 1 to every end, then re",
        ),
        # Only a few texts have emoji, but all of their spans are moved.
        (
            split(SHIFTS[UTF16], [f"🎉🎉 Lillehammer {word} us" for word in ("saw", "met", "hit")])
            + split(
                SHIFTS[UTF16],
                [f"dear {name} comes" for name in ("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus")],
            ),
            r"3 of 10 spans .*It looks as if the offsets count UTF-16 code units",
        ),
        # No way of counting explains these.
        (
            split(lambda _, start, end: (start + 2, end + 1)),
            r"4 of 4 spans .*'Be\|rgen ' .*Write `start` and `end` in characters from 0, with",
        ),
    ],
)
def test_a_split_of_shifted_spans_is_refused(tmp_path: Path, train: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_files(folder(tmp_path, train=train, **REST), kind="ner")


def test_slips_here_and_there_are_warnings(tmp_path: Path) -> None:
    slips = [
        {"text": "San Marino voted", "spans": [[0, 9, "LOC"]]},
        {"text": "to Aarhus again", "spans": [[2, 10, "LOC"]]},
    ]
    data = load_files(folder(tmp_path, train=[*SOUND, *slips], **REST), kind="ner")
    where = tmp_path / "train.jsonl"
    assert data.warnings == (
        f"{where}: 1 of 6 spans begin or end inside a word, such as 'San Marin|o' "
        "(train.jsonl:5, [0, 9)). The words are split there; correct the spans if they are wrong.",
        f"{where}: 1 of 6 spans begin or end with white space, such as ' Aarhus ' "
        "(train.jsonl:6, [2, 10)); the entities leave it out.",
    )


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("东京都和大阪", (0, 2)),
        ("ไปกรุงเทพกัน", (2, 9)),
        ("서울에서 왔다", (0, 2)),
        ("Berlinでは", (0, 6)),
        ("take 10mg now", (5, 7)),
        ("❤️Olsen", (2, 7)),
        ("Kiel's port", (0, 4)),
        ("(Olsen)", (1, 6)),
        ("کتاب‌ها", (0, 4)),
    ],
)
def test_edges_where_words_may_end(text: str, edges: Edges) -> None:
    assert check_edges("f", [Marked("f:1", text, (edges,))] * 5) == []


@pytest.mark.parametrize(
    ("text", "edges"), [("Jose\u0301 left", (0, 4)), ("in 1999", (3, 5)), ("मीरा", (0, 3))]
)
def test_edges_where_no_word_ends(text: str, edges: Edges) -> None:
    assert (
        "1 of 1 spans begin or end inside a word"
        in check_edges("f", [Marked("f:1", text, (edges,))])[0]
    )


@pytest.mark.parametrize(("wrong", "stops"), [(1, False), (2, False), (5, True)])
def test_spans_with_another_text_than_their_own(wrong: int, stops: bool) -> None:
    quotes = ["Olga"] * wrong + ["Anna ", "anna", None] * 10
    marked = [
        Marked(f"dir/f.jsonl:{n}", "Anna left", ((0, 4),), (quote,))
        for n, quote in enumerate(quotes, start=1)
    ]
    said = (
        f"f: {wrong} of {wrong + 20} spans give another text than the one at their offsets, "
        "such as 'Olga' for 'Anna' (f.jsonl:1, [0, 4)). "
    )
    if stops:
        with pytest.raises(DataError, match=re.escape(said) + "Correct `start`"):
            check_quotes("f", marked)
    else:
        assert check_quotes("f", marked) == [
            f"{said}The offsets count; correct them if they are wrong."
        ]
    assert check_quotes("f", marked[wrong:]) == []


def test_the_texts_of_spans_are_compared_where_they_are_read(tmp_path: Path) -> None:
    span = {"start": 0, "end": 4, "label": "PER"}
    rest = {
        name: [{"text": f"{who} ran", "spans": [span]}]
        for name, who in (("validation", "Olga"), ("test", "Piet"))
    }
    train = [
        {"text": f"Anna {word}", "spans": [{**span, "text": "Anna" if word != "slept" else "Piet"}]}
        for word in ("sang", "walked far", "slept", "paid the bill")
    ]
    data = load_files(folder(tmp_path, train=train, **rest), kind="ner")
    assert any("1 of 4 spans give another text" in warning for warning in data.warnings)
