"""Draws of shots, and gold labels hidden from methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.data.folders import Rows, folder, rows

from tutelage.data.sources import load_files
from tutelage.errors import ConfigError, DataError
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.label_rows import LabelRowReader
from tutelage.tasks.registry import TASKS, row_reader


def test_shots_are_drawn_from_gold_and_depend_on_the_seed_alone(tmp_path: Path) -> None:
    data = load_files(folder(tmp_path))
    gold = {row["text"]: row["label"] for row in rows(0, 8)}
    two = data.shots(2, seed=0)
    assert [shot.label for shot in two] == ["HandTool"] * 2 + ["animal"] * 2
    assert all(gold[shot.text] == shot.label for shot in two)
    assert {shot.id for shot in two} <= {example.id for example in data.pool}
    assert data.shots(2, seed=0) == two
    assert {shot.id for shot in data.shots(1, seed=0)} <= {shot.id for shot in two}
    assert len({data.shots(2, seed=seed) for seed in range(6)}) > 2
    assert data.shots(0, seed=0) == ()
    with pytest.raises(
        DataError, match=r"9 shots .* 'HandTool' has 8, 'animal' has 8. Request at most 8"
    ):
        data.shots(9, seed=0)
    with pytest.raises(ConfigError, match="-1 shots"):
        data.shots(-1, seed=0)


def test_a_class_that_is_short_because_dev_was_cut_says_so(tmp_path: Path) -> None:
    path = folder(tmp_path, train=rows(0, 2), validation=None)
    with pytest.raises(
        DataError,
        match=r"2 shots per class .* 'HandTool' has 1 \(1 more was cut off for dev\), 'animal' has "
        r"1 \(1 more was cut off for dev\). Request at most 1, label more examples or add a "
        r"validation file \(on the hub: data.splits.validation=\)\.$",
    ):
        load_files(path).shots(2, seed=0)
    # Everything that it advises works.
    assert len(load_files(path).shots(1, seed=0)) == 2
    assert len(load_files(folder(path, train=rows(0, 3), validation=None)).shots(2, seed=0)) == 4
    assert len(load_files(folder(path, train=rows(0, 2))).shots(2, seed=0)) == 4


@pytest.mark.parametrize(("share", "k"), [(0.5, 5), (0.5, 7), (0.4, 6)])
def test_a_smaller_share_for_dev_is_advised_where_it_helps(
    tmp_path: Path, share: float, k: int
) -> None:
    path = folder(tmp_path, validation=None)
    with pytest.raises(
        DataError, match=r" more were cut off for dev\).* or cut off less: "
    ) as found:
        load_files(path, validation_share=share).shots(k, seed=0)
    advised = float(str(found.value).rpartition("=")[2].rstrip("."))
    assert len(load_files(path, validation_share=advised).shots(k, seed=0)) == 2 * k


def test_a_class_that_cleaning_took_says_so(tmp_path: Path) -> None:
    tools = [row for row in rows(10, 12) if row["label"] == "HandTool"]
    animals = [row for row in rows(0, 8) if row["label"] == "animal"]
    data = load_files(folder(tmp_path, train=[*animals, *tools, {**tools[0], "text": "a plane"}]))
    with pytest.raises(
        DataError,
        match=r"'HandTool' has 1 \(2 exact duplicates of test left out\). Request at most",
    ):
        data.shots(2, seed=0)


def test_the_supervised_arm_has_the_whole_pool(tmp_path: Path) -> None:
    data = load_files(folder(tmp_path))
    assert [(e.text, e.label) for e in data.supervised()] == [
        (row["text"], row["label"]) for row in rows(0, 8)
    ]


def test_the_pool_shows_no_label(tmp_path: Path) -> None:
    data = load_files(folder(tmp_path))
    assert {example.label for example in data.pool} == {None}
    assert "HandTool" not in repr(data.pool)
    assert "pool_gold" not in repr(data)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("empty", [True, False])
def test_an_unlabelled_pool_takes_its_shots_from_a_file(
    tmp_path: Path, suffix: str, empty: bool
) -> None:
    pool = [
        {"text": row["text"], "label": ""} if empty else {"text": row["text"]} for row in rows(0, 6)
    ]
    data = load_files(
        folder(
            tmp_path,
            suffix,
            train=[*pool, {**pool[0], "text": rows(6, 7)[0]["text"]}],
            shots=rows(6, 8),
        )
    )
    assert {shot.text for shot in data.shots(2, seed=1)} == {row["text"] for row in rows(6, 8)}
    assert data.pool_gold == {}
    assert len(data.pool) == 12
    assert data.dropped == {"duplicate of shots in pool": 1}
    with pytest.raises(DataError, match="no gold labels"):
        data.supervised()
    with pytest.raises(DataError, match=r"the shots file of .* 'HandTool' has 2"):
        data.shots(3, seed=1)


def test_the_digest_sees_texts_labels_and_gold(tmp_path: Path) -> None:
    def digest(name: str, **splits: Rows | None) -> str:
        (tmp_path / name).mkdir()
        return load_files(folder(tmp_path / name, **splits)).digest

    plain = digest("a")
    assert digest("b") == plain
    swapped = rows(0, 8)
    swapped[0]["label"], swapped[1]["label"] = swapped[1]["label"], swapped[0]["label"]
    others = {
        digest("c", train=swapped),
        digest("d", test=rows(10, 11)),
        digest("e", validation=rows(8, 9)),
        digest("f", train=rows(0, 7)),
    }
    assert len(others | {plain}) == 5


def test_another_task_reads_rows_with_a_reader_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LowerCase(LabelRowReader):
        def read(self, *given: Any) -> tuple[str, str | None]:
            text, label = super().read(*given)
            return text, label and label.lower()

    class LowerCaseTask(ClassificationTask):
        row_reader = LowerCase()

    with pytest.raises(DataError, match=r"Unknown task 'lower'.*keeps the name of the task"):
        load_files(folder(tmp_path), kind="lower")
    monkeypatch.setitem(TASKS, "lower", LowerCaseTask)
    data = load_files(folder(tmp_path), kind="lower")
    assert [label.name for label in data.labels] == ["animal", "handtool"]
    assert {shot.label for shot in data.shots(1, seed=0)} == {"animal", "handtool"}


def test_shots_of_marked_texts_are_k_of_each_type_and_nested(tmp_path: Path) -> None:
    def sentence(number: int) -> dict[str, object]:
        types = (("PER",), ("LOC",), ("PER", "LOC"), ())[number % 4]
        words = [f"{type.title()}{chr(97 + number) * 5}" for type in types]
        return {
            "tokens": [*words, "at", str(number**5)],
            "tags": [*(f"B-{type}" for type in types), "O", "O"],
        }

    split = [sentence(number) for number in range(26)]
    data = load_files(
        folder(tmp_path, train=split[:20], validation=split[20:23], test=split[23:]),
        kind="ner",
        near_threshold=1.0,
    )
    assert len(data.pool) == 20
    reader = row_reader(data.kind)
    for seed in range(5):
        before: set[str] = set()
        for k in range(1, 11):
            shots = data.shots(k, seed)
            ids = {shot.id for shot in shots}
            assert before <= ids
            assert len(ids) == len(shots) <= 2 * k
            for type in ("PER", "LOC"):
                assert sum(type in reader.classes(shot.label or "[]") for shot in shots) >= k
            # A text without entities is a shot of no type.
            assert all(shot.label not in (None, "[]") for shot in shots)
            before = ids
    assert data.shots(3, 0) == data.shots(3, 0)
    assert len({data.shots(2, seed) for seed in range(6)}) > 2
    with pytest.raises(
        DataError, match=r"11 shots .* 'LOC' has 10, 'PER' has 10. Request at most 10"
    ):
        data.shots(11, seed=0)
