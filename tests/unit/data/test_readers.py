"""All formats give the same rows, with one clear error for each kind of broken file."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import lzma
from pathlib import Path

import pytest
from tests.unit.data.folders import Rows, folder, rows

from tutelage.data.readers import read_split
from tutelage.data.sources import load_files, load_sample
from tutelage.errors import ConfigError, DataError
from tutelage.records import Label
from tutelage.tasks.rows import Columns


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"])
def test_every_format_gives_the_same_data(tmp_path: Path, suffix: str) -> None:
    data = load_files(folder(tmp_path, suffix))
    assert [example.text for example in data.pool] == [row["text"] for row in rows(0, 8)]
    assert [(example.text, example.label) for example in data.test] == [
        (row["text"], row["label"]) for row in rows(10, 12)
    ]
    assert data.labels == (
        Label("HandTool", "hand tool", "hand tool"),
        Label("animal", "animal", "animal"),
    )
    assert data.dropped == {}
    assert data.name == tmp_path.name


def test_other_names_columns_and_a_byte_order_mark(tmp_path: Path) -> None:
    for name, (start, stop) in {"pool": (0, 8), "dev": (8, 10), "test": (10, 12)}.items():
        lines = [f'"{row["text"]}, or so",{row["label"]}' for row in rows(start, stop)]
        (tmp_path / f"{name}.csv").write_text(
            "\ufeffsentence, topic\r\n" + "\r\n".join(lines) + "\r\n\r\n", encoding="utf-8"
        )
    data = load_files(tmp_path, format="csv", text_column="sentence", label_column="topic")
    assert len(data.pool) == 16
    assert data.pool[0].text == "I once saw a badger, yes a badger, there, or so"


def test_a_tsv_keeps_its_quotes(tmp_path: Path) -> None:
    folder(tmp_path, ".tsv")
    with (tmp_path / "train.tsv").open("a", encoding="utf-8") as handle:
        handle.write('"open quote, never closed\tanimal\n')
    assert load_files(tmp_path).pool[-1].text == '"open quote, never closed'


def test_labels_may_be_numbers(tmp_path: Path) -> None:
    def numbered(split: Rows) -> Rows:
        return [{**row, "label": int(row["label"] == "animal")} for row in split]

    path = folder(
        tmp_path,
        train=numbered(rows(0, 8)),
        validation=numbered(rows(8, 10)),
        test=numbered(rows(10, 12)),
    )
    data = load_files(path, labels={0: {"word": "tool", "description": "a hand tool"}, 1: "animal"})
    assert data.labels == (Label("0", "tool", "a hand tool"), Label("1", "animal", "1"))
    assert data.test[0].label == "1"


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), (" \n\n", "is empty"), ("text,label\n", "has no rows")],
)
def test_an_empty_file(tmp_path: Path, content: str, message: str) -> None:
    folder(tmp_path, ".csv", test=None)
    (tmp_path / "test.csv").write_text(content)
    with pytest.raises(DataError, match=rf"test.csv {message}"):
        load_files(tmp_path)


def test_an_empty_parquet_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder(tmp_path, ".parquet")
    pq.write_table(
        pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}),
        tmp_path / "test.parquet",
    )
    with pytest.raises(DataError, match=r"test.parquet has no rows"):
        load_files(tmp_path)


def test_a_broken_parquet_file(tmp_path: Path) -> None:
    folder(tmp_path, ".parquet")
    (tmp_path / "test.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"test.parquet cannot be read as parquet"):
        load_files(tmp_path)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_column_that_is_not_there(tmp_path: Path, suffix: str) -> None:
    path = folder(tmp_path, suffix)
    with pytest.raises(
        DataError,
        match=r"train\.\w+: Unknown column 'txt'. Did you mean "
        r"'text'\? Available: label, text.*data.text_column=",
    ):
        load_files(path, text_column="txt")
    with pytest.raises(
        DataError, match=r"\w+: Unknown column 'labels'. Did you mean 'label'.*data.label_column="
    ):
        load_files(path, label_column="labels")


def test_a_key_that_one_line_lacks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test.jsonl:5: Unknown column 'text'. Did you mean 'txt'"):
        load_files(folder(tmp_path, test=[*rows(10, 12), {"txt": "a", "label": "animal"}]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "half', "not JSON"),
        ("[1, 2]", "must be a JSON object"),
        ("[" * 100_000, "not JSON"),
        ('{"text": 5, "label": "a"}', "text is an integer"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = folder(tmp_path)
    with (path / "train.jsonl").open("a") as handle:
        handle.write("\n" + line + "\n")
    with pytest.raises(DataError, match=rf"train.jsonl:18: .*{message}"):
        load_files(path)


def test_a_label_that_is_neither_text_nor_number(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.jsonl:1: the label is a list"):
        load_files(folder(tmp_path, train=[{"text": "a", "label": [5]}, *rows(0, 8)]))


def packed(suffix: str, data: bytes) -> bytes:
    if suffix == ".zst":
        import pyarrow

        sink = pyarrow.BufferOutputStream()
        with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return bytes(sink.getvalue())
    return {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix](data)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_compressed_files_are_read(tmp_path: Path, suffix: str, ending: str) -> None:
    expected = load_files(folder(tmp_path, ending)).digest
    for file in list(tmp_path.iterdir()):
        (tmp_path / f"{file.name}{suffix}").write_bytes(packed(suffix, file.read_bytes()))
        file.unlink()
    assert load_files(tmp_path).digest == expected
    whole = (tmp_path / f"test{ending}{suffix}").read_bytes()
    for broken in (whole[: len(whole) // 2], b"plain text"):
        (tmp_path / f"test{ending}{suffix}").write_bytes(broken)
        with pytest.raises(DataError, match=rf"test{ending}{suffix} cannot be decompressed"):
            load_files(tmp_path)


def test_endings_and_names_may_be_in_capitals(tmp_path: Path) -> None:
    folder(tmp_path, ".csv")
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").rename(tmp_path / f"{name.title()}.CSV")
    assert len(load_files(tmp_path).pool) == 16


@pytest.mark.parametrize("lines", [False, True])
def test_json_is_a_list_or_has_an_object_per_line(tmp_path: Path, lines: bool) -> None:
    expected = load_files(folder(tmp_path)).digest
    for file in list(tmp_path.glob("*.jsonl")):
        listed = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        written = file.read_text(encoding="utf-8") if lines else json.dumps(listed, indent=2)
        file.with_suffix(".json").write_text(written, encoding="utf-8")
        file.unlink()
    assert load_files(tmp_path).digest == expected
    assert load_files(tmp_path, format="json").digest == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"},', r"test.json is not JSON .*one list of objects"),
        ('[{"text": "a"}, 3]', r"test.json: row 2: a row must be a JSON object .* int; it reads 3"),
        ('{"text": "a"}\n{"text"', r"test.json:2: not JSON"),
        ('{\n"text": "a"\n}\n{}', r"test.json:1: not JSON .* Each line must be one object"),
        (
            '{"text": {"0": "a"}, "label": {"0": "x"}}',
            r'holds whole columns \(text, label\).*orient="records", lines=True',
        ),
        ('{"version": 1, "data": [{"text": "a"}]}', r"as a list under 'data'. Write that list"),
        ('{"text": "a", "label": "x", "label": "y"}', r"json.*the key 'label' stands more than"),
        ('[{"text": "a", "text": "b"}]', r"test.json: the key 'text' stands more than once"),
        ("[]", r"test.json has no rows"),
    ],
)
def test_json_that_is_no_table_is_named(tmp_path: Path, content: str, message: str) -> None:
    folder(tmp_path, test=None)
    (tmp_path / "test.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_files(tmp_path)


def test_the_advice_for_a_frame_of_pandas(tmp_path: Path) -> None:
    import pandas as pd

    folder(tmp_path, train=None)
    frame = pd.DataFrame(rows(0, 8))
    frame.to_json(tmp_path / "train.json")
    with pytest.raises(DataError, match=r'orient="records", lines=True'):
        load_files(tmp_path)
    (tmp_path / "train.json").unlink()
    frame.to_json(tmp_path / "train.jsonl", orient="records", lines=True)
    assert len(load_files(tmp_path).pool) == 16


def test_a_repeated_key_or_column_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder(tmp_path)
    with (path / "train.jsonl").open("a", encoding="utf-8") as handle:
        handle.write('{"text": "a", "label": "x", "label": "y"}\n')
    with pytest.raises(DataError, match=r"train.jsonl:17: the key 'label' stands more than once"):
        load_files(path)
    (path / "train.jsonl").unlink()
    columns = [pa.array(["a"])] * 3
    pq.write_table(
        pa.Table.from_arrays(columns, names=["text", "label", "label"]), path / "train.parquet"
    )
    with pytest.raises(DataError, match=r"train.parquet has the column 'label' more than once"):
        load_files(path)


def test_no_byte_order_mark_in_names_of_columns(tmp_path: Path) -> None:
    for ending in (".csv", ".jsonl"):
        path = folder(tmp_path, ending)
        for file in path.glob(f"*{ending}"):
            file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
        assert len(load_files(path, format=ending[1:]).pool) == 16  # type: ignore[arg-type]
    marked = [{f"\ufeff{name}": value for name, value in row.items()} for row in rows(10, 12)]
    folder(tmp_path, ".parquet", test=marked)
    assert len(load_files(tmp_path, format="parquet").test) == 4


def test_texts_of_parquet_that_are_not_utf_8_are_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder(tmp_path, ".parquet")
    texts = pa.array([b"fine", b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": texts, "label": ["animal"] * 2}), path / "test.parquet")
    with pytest.raises(
        DataError, match=r"test.parquet: a text in rows 1 to 2 is not UTF-8 \(b'caf"
    ):
        load_files(path)


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"train.jsonl cannot be read: Permission denied"):
        load_files(folder(tmp_path))


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path, ".parquet")
    (path / "test.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    with pytest.raises(DataError, match=r"test.parquet is only a pointer of Git LFS"):
        load_files(path)


def test_what_the_reader_says_travels_to_the_data_set(tmp_path: Path) -> None:
    path = folder(tmp_path, ".csv")
    for name in ("train", "test"):
        file = path / f"{name}.csv"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace('"', "").replace(",", ";") if name == "test" else text)
    (path / "test.csv").write_text("text;label\nlast one;animal\n", encoding="utf-8")
    assert "test.csv was read with semicolons" in load_files(path).warnings[0]


def test_the_names_of_numbered_classes_keep_their_order(tmp_path: Path) -> None:
    import datasets

    names = ["10", "animal", "HandTool"]
    features = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    numbered = {
        name: [{**row, "label": names.index(row["label"])} for row in rows(*span)]
        for name, span in {"train": (0, 8), "validation": (8, 10), "test": (10, 12)}.items()
    }
    exported(tmp_path, features, numbered)
    columns = Columns()
    split = read_split(tmp_path / "test.parquet", columns, need_label=True)
    assert split.class_order == tuple(names)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("one,two,three", r"csv:18: 3 fields, but the header has 2 \(text, label\)"),
        ('"never closed,animal', "not a valid csv file"),
    ],
)
def test_a_malformed_csv_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = folder(tmp_path, ".csv")
    with (path / "train.csv").open("a") as handle:
        handle.write(line + "\n")
    with pytest.raises(DataError, match=message):
        load_files(path)


def test_another_encoding_is_recognised_and_can_be_set(tmp_path: Path) -> None:
    path = folder(tmp_path, ".csv")
    french = "".join(
        f"L'été dernier, j'ai mangé des pâtes à la crème près de la forêt n°{n} "
        "où il a neigé,animal\n"
        for n in range(20)
    )
    content = (path / "train.csv").read_bytes() + french.replace(", j", " j").encode("cp1252")
    (path / "train.csv").write_bytes(content)
    offset = content.index(b"\xe9")
    with pytest.raises(
        DataError,
        match=rf"not utf-8: byte 0xe9 at offset {offset} \(line 18\). Which encoding it has is "
        r"a guess: forêt \(cp1252\) or foręt \(cp1250\).*data.encoding=cp1252, or convert it: ",
    ):
        load_files(path)
    assert "L'été dernier" in load_files(path, encoding="cp1252").pool[-1].text
    with pytest.raises(ConfigError, match="no encoding 'latin-seven'"):
        load_files(path, encoding="latin-seven")


def by_overrides(text: str, *people: int) -> dict[str, object]:
    words = text.split()
    return {
        "tokens": words,
        "tags": ["B-PER" if index in people else "O" for index in range(len(words))],
    }


MARKED = {
    "train": [by_overrides("Anna went home", 0), by_overrides("they met Olga", 2)],
    "validation": [by_overrides("see Ulla run", 1)],
}
MARKED["test"] = [by_overrides("is that Piet , here", 2)]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_words_with_tags_and_texts_with_spans_give_the_same_data(
    tmp_path: Path, suffix: str
) -> None:
    def with_spans(row: dict[str, object]) -> dict[str, object]:
        words, tags = row["tokens"], row["tags"]
        assert isinstance(words, list)
        assert isinstance(tags, list)
        text = " ".join(words)
        starts = [
            len(" ".join([*words[:index], ""])) for index, tag in enumerate(tags) if tag != "O"
        ]
        return {
            "text": text,
            "spans": [
                {"start": at, "end": at + len(text[at:].split()[0]), "label": "PER"}
                for at in starts
            ],
        }

    for name in ("words", "spans", "renamed"):
        (tmp_path / name).mkdir()
    data = load_files(folder(tmp_path / "words", suffix, **MARKED), kind="ner")
    assert [example.text for example in data.pool] == ["Anna went home", "they met Olga"]
    assert [(example.text, example.label) for example in data.test] == [
        ("is that Piet , here", '[[2, 3, "PER"]]')
    ]
    assert data.labels == (Label("PER", "per", "per"),)
    spans = {name: [with_spans(row) for row in split] for name, split in MARKED.items()}
    assert load_files(folder(tmp_path / "spans", suffix, **spans), kind="ner").digest == data.digest
    renamed = {
        name: [{"w": row["tokens"], "ner_tags": row["tags"]} for row in split]
        for name, split in MARKED.items()
    }
    path = folder(tmp_path / "renamed", suffix, **renamed)
    assert (
        load_files(path, kind="ner", words_column="w", tags_column="ner_tags").digest == data.digest
    )
    with pytest.raises(
        DataError, match=r"Unknown column 'tags'. Did you mean 'ner_tags'.*data.tags_column="
    ):
        load_files(path, kind="ner", words_column="w")
    with pytest.raises(
        DataError,
        match=r"has neither 'tokens' .* nor 'text' .*, but w, ner_tags. Set data.words_column= or",
    ):
        load_files(path, kind="ner")


def test_a_run_on_the_other_task_s_data_is_told_which_task_to_give(tmp_path: Path) -> None:
    for name in ("words", "spans", "labels"):
        (tmp_path / name).mkdir()
    with pytest.raises(
        DataError,
        match=r"train.jsonl marks entities \(tokens, tags\), "
        r"but the task is classification. Set task=ner",
    ):
        load_files(folder(tmp_path / "words", **MARKED))
    spans = {name: [{"text": "Anna", "spans": [[0, 4, "PER"]]}] for name in MARKED}
    with pytest.raises(
        DataError,
        match=r"validation.jsonl marks entities \(spans\), "
        r"but the task is classification. Set task=ner",
    ):
        load_files(folder(tmp_path / "spans", **spans))
    with pytest.raises(
        DataError,
        match=r"has one label per text \('label'\) and no entities, but the task is ner. "
        "Set task=classification",
    ):
        load_files(folder(tmp_path / "labels"), kind="ner")
    with pytest.raises(DataError, match=r"marks entities .* Set task=ner"):
        load_sample("wikigold")
    with pytest.raises(DataError, match=r"the task is ner. Set task=classification"):
        load_sample("snips_intent", kind="ner")


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_table_cannot_mark_entities(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(
        DataError,
        match=rf"train{suffix}: a {suffix[1:]} file has no lists.*Write "
        rf"jsonl or parquet with 'tokens'.*train.conll.*classification",
    ):
        load_files(folder(tmp_path, suffix), kind="ner")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"tokens": "Anna left", "tags": ["O"]},
            r"test.jsonl:2: 'tokens' is a str \('Anna left'\), not a list",
        ),
        ({"tokens": ["Anna"], "tags": ["O", "O"]}, "test.jsonl:2: 1 words but 2 tags"),
        ({"tokens": ["Anna", None], "tags": ["O", "O"]}, "test.jsonl:2: None is not a word"),
        ({"tokens": ["Anna"], "tags": ["PER"]}, "test.jsonl:2: 'PER' is not a tag"),
        ({"tokens": ["Anna"], "tags": None}, "test.jsonl:2: the text has no label"),
        ({"text": "Anna", "spans": {"start": 0}}, "test.jsonl:2: 'spans' is a dict"),
        ({"text": "Anna", "spans": [[0, 9, "PER"]]}, "test.jsonl:2: the span"),
        ({"text": "Anna"}, "test.jsonl:2: Unknown column 'spans'.*data.spans_column="),
    ],
)
def test_a_malformed_marking_is_named(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_files(folder(tmp_path, **{**MARKED, "test": [*MARKED["test"], row]}), kind="ner")


SPLITS = {"train": "Anna", "validation": "Olga", "test": "Piet"}


def exported(
    path: Path, features: dict[str, object], content: dict[str, list[dict[str, object]]]
) -> Path:
    """Write a folder of parquet files in the way of `datasets`."""
    import datasets

    for name, split in content.items():
        datasets.Dataset.from_list(split, features=datasets.Features(features)).to_parquet(
            str(path / f"{name}.parquet")
        )
    return path


def test_parquet_of_datasets_keeps_the_names_of_its_tags(tmp_path: Path) -> None:
    import datasets
    import pyarrow.parquet as pq

    content = {name: [{"tokens": [who, "left"], "tags": [1, 0]}] for name, who in SPLITS.items()}
    content["train"].append({"tokens": ["not", "told"], "tags": [-1, -1]})
    features = {
        "tokens": datasets.List(datasets.Value("string")),
        "tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
    }
    data = load_files(exported(tmp_path, features, content), kind="ner")
    assert (list(data.pool_gold.values()), data.test[0].label) == (
        ['[[0, 1, "PER"]]'],
        '[[0, 1, "PER"]]',
    )
    assert data.notes == ("1 of 2 pool texts have no label",)
    for file in tmp_path.iterdir():
        pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)
    with pytest.raises(
        DataError,
        match=r"train.parquet: row 1: the tag 1 is an integer, "
        r"not a string such as B-PER. Write the tags by name",
    ):
        load_files(tmp_path, kind="ner")


@pytest.mark.parametrize("by_key", [False, True])
def test_parquet_of_datasets_keeps_the_names_of_its_spans_types(
    tmp_path: Path, by_key: bool
) -> None:
    import datasets
    import pyarrow.parquet as pq

    span = {
        "start": datasets.Value("int32"),
        "end": datasets.Value("int32"),
        "label": datasets.ClassLabel(names=["LOC", "PER"]),
    }
    values: object = (
        {"start": [0], "end": [4], "label": [1]} if by_key else [{"start": 0, "end": 4, "label": 1}]
    )
    content = {name: [{"text": f"{who} left", "spans": values}] for name, who in SPLITS.items()}
    features = {
        "text": datasets.Value("string"),
        "spans": datasets.Sequence(span) if by_key else datasets.List(span),
    }
    data = load_files(exported(tmp_path, features, content), kind="ner")
    assert (data.test[0].label, [label.name for label in data.labels]) == (
        '[[0, 1, "PER"]]',
        ["PER"],
    )
    for file in tmp_path.iterdir():
        pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)
    with pytest.raises(
        DataError, match=r"train.parquet: row 1: the type 1 of the span \[0, 4\) is an integer"
    ):
        load_files(tmp_path, kind="ner")


def test_parquet_of_datasets_keeps_the_names_of_its_labels(tmp_path: Path) -> None:
    import datasets

    numbered = {
        name: [{**row, "label": int(row["label"] == "HandTool")} for row in rows(*span)]
        for name, span in {"train": (0, 8), "validation": (8, 10), "test": (10, 12)}.items()
    }
    numbered["train"].append({"text": "hidden", "label": -1})
    features = {
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["animal", "HandTool"]),
    }
    data = load_files(exported(tmp_path, features, numbered))
    assert [label.name for label in data.labels] == ["animal", "HandTool"]
    assert data.notes == ("1 of 17 pool texts have no label",)


def test_rows_without_words_are_counted_as_empty(tmp_path: Path) -> None:
    empty = [{"tokens": None, "tags": None}, {"tokens": [], "tags": []}, {"text": " ", "spans": []}]
    data = load_files(
        folder(tmp_path, **{**MARKED, "train": [*MARKED["train"], *empty]}), kind="ner"
    )
    assert (data.dropped, len(data.pool)) == ({"empty text in pool": 3}, 2)


@pytest.mark.parametrize("content", ["", "text,label\n"])
@pytest.mark.parametrize(
    ("split", "advice"),
    [
        ("train", "Add rows to it.$"),
        ("validation", "Add rows to it, or remove it: dev is then cut from train.$"),
        ("test", "Add rows with a target to it: a run needs them"),
        ("shots", "Add rows to it, or remove it if train has targets.$"),
    ],
)
def test_an_empty_file_has_advice_for_its_split(
    tmp_path: Path, content: str, split: str, advice: str
) -> None:
    path = folder(tmp_path, ".csv", shots=rows(0, 1))
    (path / f"{split}.csv").write_text(content)
    with pytest.raises(DataError, match=rf"{split}.csv (is empty|has no rows)\. {advice}"):
        load_files(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "review,category",
            r"test.csv has the columns review, category, but .*train.csv has 'text'",
        ),
        (
            "text,category",
            r"test.csv lacks the column 'label', which has the targets in .*train.csv",
        ),
    ],
)
def test_columns_that_only_train_has_are_mended_in_the_other_file(
    tmp_path: Path, header: str, message: str
) -> None:
    path = folder(tmp_path, ".csv")
    whole = (path / "test.csv").read_text()
    (path / "test.csv").write_text(whole.replace("text,label", header))
    with pytest.raises(DataError, match=rf"{message}.* rename|{message}.* Rename"):
        load_files(path)
    (path / "test.csv").write_text(whole)
    load_files(path)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (
            {"a1": {"text": "x", "label": "y"}, "a2": {"text": "z"}},
            r"under keys of their own \(a1, a2",
        ),
        ({"0": {"body": "x", "label": "y"}}, r"under keys of their own \(0\)"),
        ({"text": {"0": "x"}, "label": {"0": "y"}}, r"holds whole columns \(text, label\)"),
        ({str(at): {"text": "x"} for at in range(5_000)}, r"7 and 4,992 more\)"),
    ],
)
def test_rows_under_keys_and_whole_columns_are_told_apart(
    tmp_path: Path, held: object, message: str
) -> None:
    path = folder(tmp_path)
    (path / "train.jsonl").write_text(json.dumps(held))
    with pytest.raises(DataError, match=message) as caught:
        load_files(path)
    assert len(str(caught.value)) < 600


def test_a_message_shows_a_few_of_many_columns(tmp_path: Path) -> None:
    many = [{"text": f"text {at}", **{f"topic_{n}": at for n in range(900)}} for at in range(4)]
    path = folder(tmp_path, test=many, train=[{"text": "x"}])
    with pytest.raises(DataError, match=r"topic_\d+ and 89\d more\.") as caught:
        load_files(path)
    assert len(str(caught.value)) < 600
