"""Files of a folder by split: one each, or parts; and what to do about any other folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.files import FORMATS
from tutelage.data.folders import find_files
from tutelage.errors import DataError

TXT = frozenset({".txt"})


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x\n", encoding="utf-8")
    return folder


def found(folder: Path, *formats: str, ignored: frozenset[str] = TXT) -> dict[str, list[str]]:
    files = find_files(folder, formats or tuple(FORMATS), ignored)
    return {
        split: [str(path.relative_to(folder)) for path in paths] for split, paths in files.items()
    }


def test_files_of_all_splits(tmp_path: Path) -> None:
    made(tmp_path, "Pool.CSV", "val.jsonl.gz", "test.json", "shots.parquet", "notes.md", "a.csv")
    assert found(tmp_path) == {
        "train": ["Pool.CSV"],
        "validation": ["val.jsonl.gz"],
        "test": ["test.json"],
        "shots": ["shots.parquet"],
    }


@pytest.mark.parametrize("within", ["", "data/"])
@pytest.mark.parametrize("mark", ["", "-0123456789abcdef"])
def test_parts_are_read_in_the_order_of_their_numbers(
    tmp_path: Path, within: str, mark: str
) -> None:
    names = [f"{within}train-{number:05}-of-00012{mark}.parquet" for number in range(12)]
    made(tmp_path, *reversed(names), f"{within}test-00000-of-00001{mark}.parquet", "README.md")
    assert found(tmp_path)["train"] == names
    (tmp_path / names[3]).unlink()
    with pytest.raises(DataError, match=r"has 11 of the 12 parts of train.*first is number 3"):
        found(tmp_path)


@given(st.lists(st.integers(0, 11), unique=True, min_size=1, max_size=11))
def test_no_part_is_left_out_without_a_word(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    made(folder, "test.csv", *(f"train-{number}-of-12.csv" for number in numbers))
    with pytest.raises(DataError, match=rf"has {len(numbers)} of the 12 parts of train"):
        found(folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train.csv", "pool.csv"],
            r"more than one train file: train.csv, pool.csv. Keep one of them\.",
        ),
        (["train.csv", "train.csv.gz"], r"Keep one of them\.$"),
        (["train.csv", "train.jsonl"], r"Keep one of them, or choose with data.format="),
        (["train.csv", "train-0-of-1.csv"], r"more than one train file"),
        (["train-0-of-1.csv", "pool-0-of-1.csv"], r"more than one train file"),
        (["train-0-of-2.csv", "train-1-of-2.jsonl"], r"more than one train file"),
        (["train-0-of-2.csv", "train-0-of-3.csv"], r"more than one train file"),
    ],
)
def test_two_files_for_a_split(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        found(made(tmp_path, "test.csv", *names))


def test_a_format_chooses_between_two_files(tmp_path: Path) -> None:
    made(tmp_path, "train.csv", "train.jsonl", "test.csv", "test.jsonl")
    assert found(tmp_path, "csv") == {"train": ["train.csv"], "test": ["test.csv"]}


@pytest.mark.parametrize(
    ("names", "formats", "message"),
    [
        (["train.xlsx"], (), r"contains: train.xlsx\. .*train.xlsx is a spreadsheet"),
        (["train.log"], (), r"has the unknown ending '.log'. Known: .jsonl, .*, .bio; each also"),
        (["train.zip"], (), r"is an archive"),
        (["train.txt"], (), r"A .txt file with words and tags needs task=ner; write texts with"),
        (["train.csv"], ("jsonl",), r"Set data.format=auto to read any format"),
        (["train-00000.csv"], (), r"Rename train-00000.csv: the name of the split comes right bef"),
        (["train_final.csv"], (), r"Rename train_final.csv"),
        (["data.csv"], (), r"contains: data.csv. Add the file, or set data.path= to another fold"),
        ([], (), r"contains: nothing. Add the file"),
        (["en/train.csv", "en/test.csv"], (), r"The files are in .*en: set data.path=\S+en$"),
        (["train/a.csv"], (), r"with one folder per split: set data=hub data.name="),
        (["train/pos/a.txt"], (), r"Add the file"),
    ],
)
def test_a_folder_that_is_not_read_says_what_to_do(
    tmp_path: Path, names: list[str], formats: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=rf"has no train file \(train or pool with .*{message}"):
        found(made(tmp_path, *names), *formats)


def test_the_advised_name_and_folder_are_read(tmp_path: Path) -> None:
    made(tmp_path, "en/train-00000-of-00002.csv", "en/train-00001-of-00002.csv", "en/test.csv")
    with pytest.raises(DataError) as caught:
        found(tmp_path)
    advised = re.search(r"data\.path=(\S+)$", str(caught.value))
    assert advised is not None
    assert found(Path(advised[1]))["train"] == [
        "train-00000-of-00002.csv",
        "train-00001-of-00002.csv",
    ]


def test_a_large_folder_is_not_listed_whole(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"7\.dat and 80 more\. Add the file"):
        found(made(tmp_path, *(f"{number:03}7.dat" for number in range(100))))


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    made(tmp_path, "train.csv", "test.csv")
    (tmp_path / "notes.csv").symlink_to("nowhere")
    assert set(found(tmp_path)) == {"train", "test"}
    (tmp_path / "validation.csv").symlink_to("nowhere/dev.csv")
    with pytest.raises(DataError, match=r"validation.csv is a link to nowhere/dev.csv, which"):
        found(tmp_path)
    (tmp_path / "folder").symlink_to("gone")
    with pytest.raises(DataError, match=r"folder is a link to gone, which does not exist"):
        found(tmp_path / "folder")


@pytest.mark.parametrize("name", ["mine.zip", "mine.tar.gz", "mine.tgz"])
def test_an_archive_is_to_be_unpacked(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"Unpack {name} in it: archives are not read\.$"):
        found(made(tmp_path, name))
