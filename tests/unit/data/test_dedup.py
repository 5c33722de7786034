"""Duplicates: exact, normalised, near; by scan and by index."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz

from tutelage.data.dedup import Deduplicator, Duplicate, normalise
from tutelage.errors import ConfigError

WORDS = [
    "play",
    "book",
    "rate",
    "find",
    "the",
    "a",
    "some",
    "song",
    "table",
    "movie",
    "show",
    "weather",
    "in",
    "paris",
    "tomorrow",
    "for",
    "six",
    "people",
    "called",
    "blue",
    "stars",
    "points",
]


def sentences(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [
        " ".join(draw.choices(WORDS, k=draw.randint(5, 11))) + f" {draw.randint(0, 9999)}"
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("  Play   some\tJazz!! ", "play some jazz"),
        ("“Quoted.”", "quoted"),
        ("Straße", "strasse"),
        ("ﬁne ２", "fine 2"),
        (":)", ":)"),
        ("$5", "$5"),
        ("don't", "don't"),
        ("   ", ""),
    ],
)
def test_normalise(text: str, form: str) -> None:
    assert normalise(text) == form


@settings(deadline=None)
@given(st.text())
def test_normalise_is_idempotent_and_blind_to_case_and_space(text: str) -> None:
    form = normalise(text)
    assert normalise(form) == form
    assert normalise(f"  {text}\n") == form
    assert "  " not in form


def test_each_kind_is_told_with_what_it_repeats() -> None:
    held = Deduplicator(0.9)
    held.add("Play some jazz music tonight", "test")
    held.add("book a table", "dev")
    assert held.check("Play some jazz music tonight") == Duplicate(
        "exact", "Play some jazz music tonight", "test", 1.0
    )
    assert held.check("play SOME jazz  music tonight!") == Duplicate(
        "normalised", "Play some jazz music tonight", "test", 1.0
    )
    near = held.check("play some jazz musik tonight")
    assert near is not None
    assert (near.kind, near.of, near.against) == ("near", "Play some jazz music tonight", "test")
    assert near.similarity == pytest.approx(
        fuzz.ratio("play some jazz musik tonight", "play some jazz music tonight") / 100
    )
    assert held.check("what is the weather in Paris") is None
    assert len(held) == 2


def test_the_first_kind_of_a_text_stays() -> None:
    held = Deduplicator()
    held.add("one text", "test")
    held.add("one text", "pool")
    held.add("One text.", "pool")
    found = held.check("one text!")
    assert found is not None
    assert found.against == "test"


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet="abc d", max_size=14), max_size=8),
    st.text(alphabet="abc d", max_size=14),
    st.sampled_from([0.6, 0.8, 0.9]),
)
def test_scanning_agrees_with_comparing_everything(
    held: list[str], text: str, threshold: float
) -> None:
    dedup = Deduplicator(threshold)
    for one in held:
        dedup.add(one, "pool")
    found = dedup.check(text)
    form = normalise(text)
    best = max((fuzz.ratio(form, normalise(one)) for one in held), default=0.0)
    expected = (
        text in held or form in map(normalise, held) or (bool(form) and best >= 100 * threshold)
    )
    assert (found is not None) == expected
    if found is not None and found.kind == "near":
        assert 100 * found.similarity == pytest.approx(best)


@settings(deadline=None)
@given(st.text(min_size=1))
def test_a_held_text_is_always_found(text: str) -> None:
    for limit in (0, 20_000):
        held = Deduplicator(scan_limit=limit)
        held.add(text, "pool")
        found = held.check(text)
        assert found == Duplicate("exact", text, "pool", 1.0)


def test_the_index_finds_nearly_all_that_scanning_finds() -> None:
    base = sentences(1500, 1)
    draw = random.Random(2)
    changed = []
    for text in base[:400]:
        place = draw.randrange(len(text))
        changed.append(text[:place] + "x" + text[place + 1 :])
    scan, index = Deduplicator(0.9), Deduplicator(0.9, scan_limit=0)
    for text in base:
        scan.add(text, "pool")
        index.add(text, "pool")
    by_scan = sum(scan.check(text) is not None for text in changed)
    by_index = sum(index.check(text) is not None for text in changed)
    assert by_scan == 400
    assert by_index >= 0.98 * by_scan


def test_texts_without_spaces_and_long_texts_go_through_the_index() -> None:
    held = Deduplicator(0.9, scan_limit=0)
    held.add("明日の東京の天気を教えてくださいお願いします", "test")
    long = " ".join(sentences(40, 3))
    held.add(long, "dev")
    japanese = held.check("明日の東京の天気を教えてくださいお願いしまず")
    changed = held.check(long.replace("weather", "wether", 1))
    assert japanese is not None
    assert japanese.against == "test"
    assert changed is not None
    assert changed.kind == "near"


def test_texts_that_come_after_a_check_are_found_too() -> None:
    held = Deduplicator(0.9, scan_limit=0)
    held.add("play the song called blue stars", "pool")
    assert held.check("rate the book called six points") is None
    held.add("rate the book called six points", "pool")
    found = held.check("rate the book called six pointz")
    assert found is not None
    assert found.kind == "near"


def test_a_threshold_of_one_finds_no_near_ones() -> None:
    held = Deduplicator(1.0)
    held.add("play some jazz music", "pool")
    assert held.check("play some jazz musik") is None
    assert held.check("Play some jazz music.") is not None


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="must lie in"):
        Deduplicator(threshold)


def test_it_is_quick() -> None:
    held = Deduplicator(0.9)
    for text in sentences(5000, 4):
        held.add(text, "pool")
    start = time.process_time()
    for text in sentences(1000, 5):
        held.check(text)
    assert time.process_time() - start < 5.0
