"""Cleaning, checking and cutting: texts that leave the pool, counts, and refused data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.unit.data.folders import ANIMALS, TOOLS, Rows, folder, rows, write

from tutelage.data.dedup import Deduplicator
from tutelage.data.sources import load_files
from tutelage.errors import ConfigError, DataError


def test_an_unlabelled_pool_without_shots_is_an_error(tmp_path: Path) -> None:
    path = folder(
        tmp_path, train=[{"text": row["text"], "labels": row["label"]} for row in rows(0, 8)]
    )
    with pytest.raises(
        DataError,
        match=r"train.jsonl has no labels \(columns: text, "
        r"labels\).*data.label_column=.*shots.jsonl",
    ):
        load_files(path)


def test_a_partly_labelled_pool_is_noted(tmp_path: Path) -> None:
    data = load_files(
        folder(tmp_path, train=[*rows(0, 7), *({"text": row["text"]} for row in rows(7, 8))])
    )
    assert len(data.pool) == 16
    assert len(data.supervised()) == 14
    assert data.notes == ("2 of 16 pool texts have no label",)


def test_dev_is_cut_from_train_where_there_is_none(tmp_path: Path) -> None:
    path = folder(tmp_path, validation=None)
    data = load_files(path, validation_share=0.25)
    assert Counter(example.label for example in data.dev) == {"animal": 2, "HandTool": 2}
    assert len(data.pool) == 12
    assert not {example.text for example in data.pool} & {example.text for example in data.dev}
    assert data.notes == (
        "no validation file: 4 labelled texts were cut from train (25% of each class, seed 13)",
    )
    assert load_files(path, validation_share=0.25).dev == data.dev
    assert load_files(path, validation_share=0.25, split_seed=1).dev != data.dev
    with pytest.raises(ConfigError, match=r"validation_share is 1.0"):
        load_files(path, validation_share=1.0)


def test_dev_cannot_be_cut_from_a_pool_without_labels(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        train=[{"text": row["text"]} for row in rows(0, 6)],
        validation=None,
        shots=rows(6, 8),
    )
    with pytest.raises(
        DataError, match=r"no validation file, and .*train.jsonl has too few labelled texts"
    ):
        load_files(path)


def test_copies_of_dev_and_test_leave_the_pool(tmp_path: Path) -> None:
    dev, test = rows(8, 10)[0]["text"], rows(10, 12)[0]["text"]
    copies = [
        test,
        test.upper() + "!",
        test.replace("once", "onc"),
        dev,
        f" {dev}.",
        dev.replace("there", "thera"),
    ]
    path = folder(
        tmp_path, train=[*rows(0, 8), *({"text": text, "label": "animal"} for text in copies)]
    )
    data = load_files(path)
    # The second copy of each text repeats the first one in the pool.
    assert data.dropped == {
        "duplicate in pool": 2,
        "exact duplicate of test in pool": 1,
        "near duplicate of test in pool": 1,
        "exact duplicate of dev in pool": 1,
        "near duplicate of dev in pool": 1,
    }
    assert [example.text for example in data.pool] == [row["text"] for row in rows(0, 8)]
    held = Deduplicator()
    for example in (*data.dev, *data.test):
        held.add(example.text, "held out")
    assert not any(held.check(example.text) for example in data.pool)
    assert load_files(path, near_threshold=1.0).dropped == {
        "duplicate in pool": 2,
        "exact duplicate of test in pool": 1,
        "exact duplicate of dev in pool": 1,
    }


def test_a_normalised_copy_and_copies_among_the_shots(tmp_path: Path) -> None:
    test = rows(10, 12)[0]
    pool = [*({"text": row["text"]} for row in rows(0, 6)), {"text": test["text"].upper()}]
    data = load_files(folder(tmp_path, train=pool, shots=[*rows(6, 8), test]))
    assert data.dropped == {
        "normalised duplicate of test in pool": 1,
        "exact duplicate of test in shots": 1,
    }
    assert len(data.given_shots) == 4


def test_dev_texts_that_stand_in_test_leave_dev(tmp_path: Path) -> None:
    data = load_files(folder(tmp_path, validation=[*rows(8, 10), {**rows(10, 11)[0]}]))
    assert data.dropped == {"duplicate of test in dev": 1}
    assert len(data.test) == 4


def test_repetitions_and_conflicts_in_the_pool_are_counted_and_the_first_stays(
    tmp_path: Path,
) -> None:
    first = rows(0, 1)[0]
    extra = [first, {**first, "text": first["text"].upper()}, {**first, "label": "HandTool"}]
    data = load_files(folder(tmp_path, train=[*rows(0, 8), *extra]))
    assert data.dropped == {"duplicate in pool": 2, "conflicting label in pool": 1}
    assert data.pool[0].text == first["text"]
    assert data.pool_gold[data.pool[0].id] == "animal"


def test_test_texts_are_never_altered(tmp_path: Path) -> None:
    odd = ["  spaces  around ", "TWICE here", "TWICE here", "ＦＵＬＬ width\u2028line"]
    content = [*rows(10, 12), *({"text": text, "label": "animal"} for text in odd)]
    data = load_files(folder(tmp_path, test=content))
    assert [example.text for example in data.test] == [row["text"] for row in content]
    assert len({example.id for example in data.test}) == len(content)


def test_empty_texts_are_dropped_and_counted(tmp_path: Path) -> None:
    blank = [{"text": " \n", "label": "animal"}, {"text": None, "label": "animal"}]
    data = load_files(
        folder(
            tmp_path,
            train=[*blank, *rows(0, 8)],
            validation=[*rows(8, 10), blank[0]],
            test=[*rows(10, 12), *blank, *blank],
        )
    )
    assert data.dropped == {
        "empty text in pool": 2,
        "empty text in dev": 1,
        "empty text in test": 4,
    }
    assert (len(data.pool), len(data.dev), len(data.test)) == (16, 4, 4)


def test_texts_that_are_all_empty_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"test.jsonl: all 1 texts are empty. .*data.text_column \(text, label\)"
    ):
        load_files(folder(tmp_path, test=[{"text": "", "label": "animal"}]))


def test_nothing_left_of_the_pool_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"No text of the pool .* is left .*4 exact duplicates of test in pool"
    ):
        load_files(folder(tmp_path, train=rows(10, 12)))


def test_a_large_pool_goes_through_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.data.assembly._SCAN_UP_TO", 10)
    near = {"text": rows(10, 12)[0]["text"].replace("once", "onc"), "label": "animal"}
    data = load_files(folder(tmp_path, train=[*rows(0, 8), near]))
    assert data.dropped == {"near duplicate of test in pool": 1}
    assert "large pool (17 texts)" in data.notes[0]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_label_that_only_dev_or_test_has(tmp_path: Path, split: str) -> None:
    path = folder(tmp_path, **{split: [*rows(10, 12), {"text": "a fine oak", "label": "animals"}]})
    with pytest.raises(
        DataError,
        match=rf"{split}.jsonl:5: Unknown label 'animals'. Did you mean "
        rf"'animal'.*1 of 5 rows .* no training example has it",
    ):
        load_files(path)


def test_a_label_that_the_config_does_not_list(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"train.jsonl:2: Unknown label 'HandTool'.*8 "
        r"of 16 rows .* data.labels does not list it\. Correct the rows of train.jsonl, or "
        r"add it to data.labels\.$",
    ):
        load_files(folder(tmp_path), labels=["animal", "plant"])


def test_a_listed_label_that_is_never_seen_is_noted(tmp_path: Path) -> None:
    data = load_files(folder(tmp_path), labels=["animal", "HandTool", "plant"])
    assert [label.name for label in data.labels] == ["animal", "HandTool", "plant"]
    assert "label 'plant' is listed but never seen" in data.notes[0]
    with pytest.raises(DataError, match="'plant' has 0"):
        data.shots(1, seed=0)


def test_a_missing_label_in_test(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test.jsonl:5: the text has no label"):
        load_files(folder(tmp_path, test=[*rows(10, 12), {"text": "no label here", "label": ""}]))


def test_one_class_only(tmp_path: Path) -> None:
    one = [row for row in rows(0, 8) if row["label"] == "animal"]
    with pytest.raises(
        DataError, match=r"needs at least two labels; .*train.jsonl has only 'animal'"
    ):
        load_files(folder(tmp_path, train=one))


def marked(texts: dict[str, str]) -> Rows:
    """One row per text, with the type of its first word ("O" for none)."""
    split = [(text.split(), type) for text, type in texts.items()]
    return [
        {"tokens": words, "tags": [type if type == "O" else f"B-{type}", *("O" for _ in words[1:])]}
        for words, type in split
    ]


MARKED = {
    "train": marked(
        {
            **{f"{word} is a name we heard": "PER" for word in ANIMALS[:8]},
            **{f"we saw the {word} fall": "O" for word in TOOLS[:8]},
        }
    ),
    "validation": marked({"Badgerton lies north": "PER"}),
    "test": marked({"Curlewby lies far south": "PER"}),
}


def test_dev_of_marked_texts_is_cut_from_all_of_them(tmp_path: Path) -> None:
    data = load_files(
        folder(tmp_path, **{**MARKED, "validation": None}), kind="ner", validation_share=0.25
    )
    assert (len(data.pool), len(data.dev)) == (12, 4)
    assert not {example.text for example in data.pool} & {example.text for example in data.dev}
    assert data.notes == (
        "no validation file: 4 labelled texts were cut from train (25%, seed 13)",
    )


def test_an_entity_type_that_only_test_has(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        **{
            **MARKED,
            "test": [*MARKED["test"], *marked({"Kiel is wet": "PERS", "Nobody is here": "O"})],
        },
    )
    with pytest.raises(
        DataError,
        match=r"test.jsonl:2: Unknown entity type 'PERS'. Did you "
        r"mean 'PER'.*1 of 3 rows .* no training example has it",
    ):
        load_files(path, kind="ner")
    with pytest.raises(
        DataError,
        match=r"train.jsonl:1: Unknown entity type 'PER'.*8 "
        r"of 16 rows .* data.labels does not list it",
    ):
        load_files(path, kind="ner", labels=["LOC"])


def test_one_type_is_enough_and_none_is_not(tmp_path: Path) -> None:
    assert [label.name for label in load_files(folder(tmp_path, **MARKED), kind="ner").labels] == [
        "PER"
    ]
    with pytest.raises(DataError, match=r"train.jsonl contains no entities"):
        load_files(
            folder(
                tmp_path,
                **{**MARKED, "train": marked({f"no names in {word}": "O" for word in TOOLS})},
            ),
            kind="ner",
        )


def test_one_text_with_two_markings_is_a_conflict(tmp_path: Path) -> None:
    again = marked({f"{ANIMALS[0]} is a name we heard": "O"})
    data = load_files(
        folder(tmp_path, **{**MARKED, "train": [*MARKED["train"], *again, MARKED["train"][0]]}),
        kind="ner",
    )
    assert data.dropped == {"conflicting label in pool": 1, "duplicate in pool": 1}


def test_raw_text_needs_no_label_where_the_labels_are_listed(tmp_path: Path) -> None:
    path = folder(tmp_path, train=[{"text": row["text"]} for row in rows(0, 8)])
    names = {row["label"] for row in rows(0, 8)}
    data = load_files(path, labels=dict.fromkeys(names))
    assert len(data.pool) == len(rows(0, 8))
    assert (dict(data.pool_gold), data.shots(0, 1)) == ({}, ())
    with pytest.raises(DataError, match="has too few"):
        data.shots(1, 1)


def test_a_gold_file_is_used_whole_and_leaves_the_pool(tmp_path: Path) -> None:
    path = folder(tmp_path, train=rows(0, 6))
    before = load_files(path)
    known, new = before.pool[0].text, "a text of its own about a hammer and a saw"
    held_out = before.test[0].text
    label = before.labels[0].name
    records = [{"text": text, "label": label} for text in (known, new, new, held_out)]
    gold = tmp_path / "gold.jsonl"
    write(gold, records)
    after = load_files(path, gold=str(gold))
    assert [one.text for one in after.given_gold] == [known, new]
    assert after.shots(0, seed=1) == after.given_gold
    assert after.shots(1, seed=1)[-2:] == after.given_gold
    assert len({one.text for one in after.shots(1, seed=1)}) == len(after.labels) + 2
    assert {one.text for one in before.pool} - {one.text for one in after.pool} == {known}
    assert set(after.given_gold) < set(after.supervised())
    assert after.digest != before.digest
    assert load_files(path, gold=None).digest == before.digest
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match=r"leave data\.gold= out"):
        load_files(path, gold=str(tmp_path / "empty.jsonl"))
    with pytest.raises(DataError, match=r"There is no file .* Set data\.gold="):
        load_files(path, gold=str(tmp_path / "nowhere.jsonl"))
