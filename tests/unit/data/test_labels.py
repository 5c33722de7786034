"""Words from label names, and the label space of a configuration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.labels import label_space, words_of
from tutelage.errors import ConfigError
from tutelage.records import Label
from tutelage.tasks.label_rows import LabelRowReader

READER = LabelRowReader()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AddToPlaylist", "add to playlist"),
        ("card_arrival", "card arrival"),
        ("HTMLPage", "html page"),
        ("DESC", "desc"),
        ("rec.sport-hockey", "rec sport hockey"),
        ("été", "été"),
        ("_", "_"),
        ("3", "3"),
        ("-1", "-1"),
        ("2.5", "2.5"),
    ],
)
def test_words_of_a_label_name(name: str, words: str) -> None:
    assert words_of(name) == words


def test_labels_keep_the_order_of_the_config() -> None:
    space = label_space(
        {"b": None, "a": {"description": "the letter a"}}, {"a", "b"}, "train", READER
    )
    assert space == (Label("b", "b", "b"), Label("a", "a", "the letter a"))
    listed = label_space(["b", "a"], {"a", "b"}, "train", READER)
    assert [label.name for label in listed] == ["b", "a"]


@pytest.mark.parametrize(
    ("seen", "numbered", "order"),
    [
        ({"10", "2", "-1", "1.5"}, (), ["-1", "1.5", "2", "10"]),
        ({"10", "2", "b"}, (), ["10", "2", "b"]),
        ({"b", "a", "C"}, (), ["C", "a", "b"]),
        ({"nan", "1", "inf"}, (), ["1", "inf", "nan"]),
        ({"music", "food", "weather"}, ("weather", "music", "food"), ["weather", "music", "food"]),
        ({"music", "food"}, ("weather", "music", "food"), ["music", "food"]),
        ({"b", "a", "x"}, ("x", "other"), ["x", "a", "b"]),
    ],
)
def test_labels_from_the_data_keep_its_order(
    seen: set[str], numbered: tuple[str, ...], order: list[str]
) -> None:
    space = label_space(None, seen, "train", READER, numbered)
    assert [label.name for label in space] == order


@given(st.sets(st.text(st.characters(categories=("L", "P")), min_size=1), min_size=2))
def test_names_without_an_order_are_sorted(seen: set[str]) -> None:
    assert [label.name for label in label_space(None, seen, "train", READER)] == sorted(seen)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"a": {"wrod": "x"}, "b": None},
            r"data.labels.a: Unknown key 'wrod'. Did you mean 'word'",
        ),
        ({"a": 3, "b": None}, "data.labels.a is 3"),
        (["a", "b", "a"], "lists 'a' twice"),
        ("a,b", "is the string 'a,b'"),
    ],
)
def test_label_settings_that_make_no_sense(settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        label_space(settings, {"a", "b"}, "train", READER)
