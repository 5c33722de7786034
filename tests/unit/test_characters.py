"""The policy for characters: what is replaced, what is kept, and what looks the same."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tutelage.characters import REPLACEMENT, look_alike_key, shown, unusable_count, usable

ANY = st.text(st.characters(exclude_categories=()))


@given(ANY)
def test_a_usable_text_can_be_written_has_its_length_and_is_a_fixed_point(text: str) -> None:
    clean = usable(text)
    clean.encode("utf-8")
    assert len(clean) == len(text)
    assert usable(clean) == clean
    changed = sum(before != after for before, after in zip(text, clean, strict=True))
    assert changed == unusable_count(text)


@given(ANY)
def test_only_surrogates_and_controls_that_are_no_space_are_replaced(text: str) -> None:
    for before, after in zip(text, usable(text), strict=True):
        bad = unicodedata.category(before) in ("Cs", "Cc") and not before.isspace()
        assert after == (REPLACEMENT if bad else before)


def test_names_that_look_the_same_have_one_key() -> None:
    same = ["Food", "food", " FOOD ", "fo\u200bod", "\ufeffFood", "\uff26ood"]
    assert {look_alike_key(name) for name in same} == {"food"}
    assert look_alike_key("Caf\u00e9") == look_alike_key("Cafe\u0301")
    assert look_alike_key("ab") != look_alike_key("a b")


@given(ANY)
def test_the_key_is_a_fixed_point(name: str) -> None:
    assert look_alike_key(look_alike_key(name)) == look_alike_key(name)


@given(ANY)
def test_a_name_is_shown_on_one_short_line(name: str) -> None:
    line = shown(name)
    assert line.isprintable()
    if name.isprintable() and len(name) <= 80:
        assert line == name
    assert len(shown(name * 400 or "-")) < 800
    assert shown("late\ndelivery") == r"late\ndelivery"
    assert shown("x" * 99 + "\n" + "y" * 99) == "x" * 40 + "…" + "y" * 20
