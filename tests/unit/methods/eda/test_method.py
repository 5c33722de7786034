"""EDA: random changes of the shots, with every entity kept whole."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.augmentation import NER
from tests.helpers.augmentation import SHOTS as SENTENCES
from tests.helpers.classification import SHOTS, context, shipped

from tutelage.errors import ConfigError
from tutelage.methods.eda.changes import changed, pieces_of, sentence_of
from tutelage.methods.eda.method import EDA
from tutelage.methods.eda.settings import EDASettings
from tutelage.methods.generation.mentions import mentions_of
from tutelage.methods.generation.variants import Marked
from tutelage.records import Example, Row
from tutelage.tasks.spans import Span

ENTITIES = {"task": NER, "shots": SENTENCES, "dev": (), "held_out": ()}
MODES = ("replace", "insert", "swap", "delete", "rename")


def eda(folder: Path, given: Any = None, seed: int = 1, **changes: Any) -> EDA:
    settings = shipped("method", "eda")
    del settings["_target_"]
    method = EDA(EDASettings(**{**settings, **changes}))
    method.setup(context(folder, None, seed=seed, **(given or {})))
    return method


def made(method: EDA) -> list[Row]:
    return [row for row in method.first_rows().rows if row.source != "gold"]


def shot_of(row: Row, shots: tuple[Example, ...]) -> Example:
    return next(shot for shot in shots if row.parents == (f"gold-{shot.id}",))


def test_each_shot_becomes_a_number_of_texts_of_its_class_without_a_teacher(tmp_path: Path) -> None:
    method = eda(tmp_path, n_texts=8)
    growth = method.first_rows()
    new = [row for row in growth.rows if row.source == "init"]
    assert [row.id for row in growth.rows[: len(SHOTS)]] == [f"gold-{shot.id}" for shot in SHOTS]
    assert Counter(row.parents for row in new) == {(f"gold-{shot.id}",): 8 for shot in SHOTS}
    assert all(row.accepted and row.target == shot_of(row, SHOTS).label for row in new)
    assert len({row.text for row in growth.rows} | {shot.text for shot in SHOTS}) == 9 * len(SHOTS)
    assert len({row.id for row in growth.rows}) == len(growth.rows)
    assert growth.quota == {"Animal/init": 16, "Tool/init": 16, "Food/init": 16}
    assert (growth.asked, growth.answered, growth.failed, growth.rejected) == (0, 0, 0, 0)
    assert (method.rounds, method.asks_teacher, method.name) == (0, False, "eda")


def test_modes_share_the_texts_and_change_as_many_words_as_they_should(tmp_path: Path) -> None:
    # Nine words, of which a share of 0.2 is two.
    new = made(eda(tmp_path, n_texts=8, share=0.2))
    assert Counter(row.detail["mode"] for row in new) == dict.fromkeys(MODES[:4], 2 * len(SHOTS))
    for row in new:
        shot = shot_of(row, SHOTS)
        before, after = Counter(shot.text.split()), Counter(row.text.split())
        of_class = {word for one in SHOTS if one.label == shot.label for word in one.text.split()}
        assert after.keys() <= of_class
        lost, gained = (before - after).total(), (after - before).total()
        if row.detail["mode"] == "replace":
            assert lost == gained
            assert 1 <= lost <= 2
        elif row.detail["mode"] == "insert":
            assert (lost, gained) == (0, 2)
        elif row.detail["mode"] == "swap":
            assert before == after
            moved = sum(a != b for a, b in zip(shot.text.split(), row.text.split(), strict=True))
            assert 2 <= moved <= 4
        else:
            assert lost >= 1
            assert gained == 0


def test_the_run_s_seed_decides_and_a_resumed_run_makes_the_same(tmp_path: Path) -> None:
    first, again, other = (made(eda(tmp_path, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert {row.text for row in first} != {row.text for row in other}


def test_entities_stay_whole_and_right_wherever_they_move(tmp_path: Path) -> None:
    new = made(eda(tmp_path, ENTITIES, n_texts=40, share=0.3))
    assert {row.detail["mode"] for row in new} == {*MODES}
    names = {name for shot in SENTENCES for name in mentions_of(shot.text, shot.label or "")}
    inside = {word for name, _ in names for word in name.split()}
    for row in new:
        shot = shot_of(row, SENTENCES)
        before, after = mentions_of(shot.text, shot.label or ""), mentions_of(row.text, row.target)
        assert row.asked == ""
        if row.detail["mode"] == "rename":
            assert [type for _, type in after] == [type for _, type in before]
            assert after != before
            assert set(after) <= names
        else:
            # No change of a word touches a name, and none brings one along.
            assert after == before
            outside = row.text
            for name, _ in after:
                outside = outside.replace(name, "", 1)
            assert not inside & set(outside.split())


def test_a_mode_that_cannot_change_a_text_leaves_it_to_the_next(tmp_path: Path) -> None:
    # "Royal Pier" is the only organisation, but "Hugo Heath" may become "Clara Dune".
    renamed = made(eda(tmp_path, ENTITIES, n_texts=4, modes=["rename"]))
    royal = [row for row in renamed if row.parents == (f"gold-{SENTENCES[2].id}",)]
    assert [row.accepted for row in royal] == [True, False, False, False]
    assert {row.reason for row in royal[1:]} <= {
        "exact duplicate of pool",
        "exact duplicate of shots",
    }
    assert ("Clara Dune", "PER") in mentions_of(royal[0].text, royal[0].target)
    both = made(eda(tmp_path, ENTITIES, n_texts=4, modes=["rename", "insert"]))
    royal = [row for row in both if row.parents == (f"gold-{SENTENCES[2].id}",)]
    assert [row.detail["mode"] for row in royal] == ["rename", "insert", "insert", "insert"]
    assert all(row.accepted for row in royal)


def test_a_word_alone_and_texts_near_dev_or_test_are_rejected_with_a_reason(tmp_path: Path) -> None:
    one = {"shots": (Example("one", "hello", "Animal"),), "held_out": ()}
    rows = made(eda(tmp_path, one, n_texts=2, modes=["swap", "delete", "replace"]))
    assert [row.reason for row in rows] == ["exact duplicate of shots"] * 2
    shot = SHOTS[0]
    near = {"shots": (shot,), "held_out": (("test", shot.text + " ember"),)}
    rows = made(eda(tmp_path, near, n_texts=4, modes=["insert"], near_duplicate=0.7))
    assert {row.reason for row in rows} == {"near duplicate of test"}


def test_chinese_is_changed_by_characters_and_gets_no_spaces(tmp_path: Path) -> None:
    texts = {"a": "今天北京的天气怎么样", "b": "明天上海会不会下雨"}
    shots = tuple(Example(id, text, "Animal") for id, text in texts.items())
    rows = made(eda(tmp_path, {"shots": shots, "held_out": ()}, n_texts=8))
    assert all(row.accepted and " " not in row.text for row in rows)
    assert {abs(len(row.text) - len(texts[row.parents[0][5:]])) for row in rows} == {0, 1}


@given(
    st.lists(st.sampled_from(["a", "bb", "ccc", "."]), min_size=1, max_size=9),
    st.integers(0, 8),
    st.integers(1, 3),
    st.sampled_from(MODES),
    st.floats(0.05, 1),
    st.integers(),
)
def test_a_name_survives_every_change(
    words: list[str], start: int, length: int, mode: str, share: float, seed: int
) -> None:
    start = min(start, len(words) - 1)
    span = Span(start, min(start + length, len(words)), "PER")
    sentence = Marked("id", " ".join(words), (span,))
    assert sentence_of("id", pieces_of(sentence)) == sentence
    new = changed(mode, sentence, ["dd", "a"], {"PER": ["Ann Lee"]}, share, random.Random(seed))
    (kept,) = new.spans
    name = "Ann Lee" if mode == "rename" else " ".join(words[span.start : span.end])
    assert " ".join(new.text.split(" ")[kept.start : kept.end]) == name
    outside = [word for index, word in enumerate(words) if not span.start <= index < span.end]
    rest = new.text.split(" ")
    rest = rest[: kept.start] + rest[kept.end :]
    changes = {"replace": 0, "swap": 0, "rename": 0, "insert": 1, "delete": -1}[mode]
    assert (len(rest) - len(outside)) * changes >= abs(changes) * bool(outside or mode == "insert")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_texts": 0}, r"method.n_texts=0, so no text would be made from a shot.*method=shots"),
        ({"share": 0.0}, r"method.share=0.0 must be in \(0, 1\]"),
        ({"modes": []}, r"method.modes=\[\] must name at least one mode"),
        ({"modes": ["swap", "swap"]}, "must name at least one mode, and none twice"),
        ({"modes": ["rename"]}, r"method.modes=\[rename\] gives entities other names, and this"),
        ({"given": {"shots": ()}}, "method=eda learns from gold labels alone.*shots=1 or more"),
    ],
)
def test_settings_that_would_make_nothing(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        eda(tmp_path, **changes)
