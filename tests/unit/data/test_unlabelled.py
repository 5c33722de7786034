"""Files of texts to label: one row per input row, in any format that training reads."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.unlabelled import Row, Source, read_rows
from tutelage.errors import ConfigError, DataError

TEXTS = ["play some jazz", "will it rain"]


def texts(path: Path, *, tagger: bool = False, **settings: Any) -> list[str]:
    return [row.text for row in read_rows(Source(path, **settings), tagger=tagger)[0]]


def table(separator: str) -> str:
    return "".join(
        f"{separator.join(row)}\n" for row in (["id", "text"], ["1", TEXTS[0]], ["2", TEXTS[1]])
    )


RECORDS = [{"text": text, "id": number} for number, text in enumerate(TEXTS, start=1)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", table("\t")),
        ("a.TAB", table("\t")),
        ("a.csv", table(",")),
        ("a.CSV", table(";")),
        ("a.json", json.dumps(RECORDS)),
        ("a.json", "".join(f"{json.dumps(record)}\n" for record in RECORDS)),
        ("a.ndjson", "".join(f"{json.dumps(record)}\n" for record in RECORDS)),
        ("a.jsonl", "\n".join(json.dumps(record) for record in RECORDS)),
        ("a.txt", "\r\n".join(TEXTS)),
        ("a.TXT", "\n".join(TEXTS)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_format_is_read_with_and_without_a_mark(
    tmp_path: Path, name: str, content: str, encoding: str
) -> None:
    (tmp_path / name).write_bytes(content.encode(encoding))
    for tagger in (False, True):
        assert texts(tmp_path / name, tagger=tagger) == TEXTS


def test_parquet_and_compressed_files_are_read(tmp_path: Path) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(table(",").encode()))
    assert texts(tmp_path / "a.parquet") == texts(tmp_path / "a.csv.gz") == TEXTS


LINES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff\0"))


@given(st.lists(LINES, min_size=1).filter(lambda lines: any(line.strip() for line in lines)))
def test_each_line_of_a_txt_file_is_a_row(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.mktemp("texts") / "a.txt"
    for end in ("\n", "\r\n"):
        path.write_bytes("".join(line + end for line in lines).encode())
        rows, _ = read_rows(Source(path), tagger=False)
        assert rows == [Row(line, {"row": number}) for number, line in enumerate(lines, start=1)]


CELLS = st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0")))


@given(st.lists(CELLS, min_size=1))
def test_each_record_is_a_row(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str | None]
) -> None:
    path = tmp_path_factory.mktemp("texts") / "a.jsonl"
    path.write_text("".join(json.dumps({"text": cell, "n": 1}) + "\n\n" for cell in cells))
    rows, _ = read_rows(Source(path, keep=[]), tagger=False)
    assert rows == [
        Row(cell or "", {"row": number, "n": 1}) for number, cell in enumerate(cells, start=1)
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"txt": "a"}\n', r"a.jsonl:1: Unknown .*Did you mean 'txt'.*--text-column"),
        ("a.jsonl", '{"text": "a"}\nno json\n', r"a.jsonl:2: not JSON"),
        ("a.jsonl", '["text"]\n', r"a.jsonl:1: a row must be a JSON object"),
        (
            "a.jsonl",
            '{"text": "a"}\n\n{"text": 123}\n',
            r"a.jsonl:3: the text is an integer \(123\)",
        ),
        ("a.jsonl", '{"text": ["a", "b"]}\n', r"a.jsonl:1: the text is a list .*--text-column"),
        ("a.csv", "sentence,label\na,b\n", r"a.csv:2: Unknown column 'text'"),
        ("a.csv", "a,text\nonly\n", r"a.csv:2: 1 field, but the header has 2 \(a, text\)"),
        (
            "a.csv",
            'text,id\n"open, play jazz,1\nwill it rain,2\n',
            r"a.csv:2: not a valid csv file",
        ),
        ("a.csv", "text,id,id\na,1,2\n", r"a.csv:1: the header has the column 'id' more than once"),
        ("a.csv", "text,id\n", r"a.csv has no rows"),
        ("a.txt", "", r"a.txt is empty"),
        ("a.conll", "Anna O\n", r"a.conll has a word per line, but the student labels whole texts"),
        ("a.log", "a\n", r"unknown ending '.log'. Known: .jsonl, .* .txt"),
        ("a", "a\n", r"no ending that names its format"),
        ("a.xlsx", "PK", r"is a spreadsheet"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        texts(tmp_path / name)


def test_the_option_for_the_encoding_is_named_and_works(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("amanhã e São João\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"amanhã \(cp1252\).*--encoding cp1252"):
        texts(tmp_path / "a.txt")
    assert texts(tmp_path / "a.txt", encoding="cp1252") == ["amanhã e São João"]
    with pytest.raises(ConfigError, match="Set --encoding to a known one"):
        texts(tmp_path / "a.txt", encoding="latin-seven")


def test_kept_columns_never_hide_the_output_s_own(tmp_path: Path) -> None:
    record = {"text": "a", "label": "x", "row": 7, "input_label": None, "when": float("nan")}
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    ((row,), _) = read_rows(Source(tmp_path / "a.jsonl", keep=[]), tagger=False)
    assert row.copied == {
        "row": 1,
        "input_label": "x",
        "input_row": 7,
        "input_input_label": None,
        "when": None,
    }
    ((row,), _) = read_rows(Source(tmp_path / "a.jsonl", keep=["label"]), tagger=False)
    assert row.copied == {"row": 1, "input_label": "x"}
    with pytest.raises(DataError, match=r"--keep: Unknown column 'lable'. Did you mean 'label'"):
        read_rows(Source(tmp_path / "a.jsonl", keep=["lable"]), tagger=False)


def test_values_of_parquet_are_kept_as_json(tmp_path: Path) -> None:
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    day = datetime.date(2024, 2, 29)
    pq.write_table(
        pa.Table.from_pylist([{"text": "a", "day": day, "list": [1.5], "of": {"d": day}}]),
        tmp_path / "a.parquet",
    )
    ((row,), _) = read_rows(Source(tmp_path / "a.parquet", keep=[]), tagger=False)
    assert json.loads(json.dumps(row.copied)) == {
        "row": 1,
        "day": "2024-02-29",
        "list": [1.5],
        "of": {"d": "2024-02-29"},
    }


TAGGED = "Anna NNP B-PER\nleft VBD O\n\nUlm NNP B-LOC\n"


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.bio.gz"])
def test_entities_are_looked_for_in_column_files(tmp_path: Path, name: str) -> None:
    import gzip

    content = TAGGED.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    rows, warnings = read_rows(Source(tmp_path / name, keep=[]), tagger=True)
    assert [row.text for row in rows] == ["Anna left", "Ulm"]
    assert rows[0].copied == {"row": 1, "tokens": ["Anna", "left"]}
    assert bool(warnings) is (name == "a.txt")
    assert texts(tmp_path / name, tagger=True, words_column="1") == ["NNP VBD", "NNP"]
    with pytest.raises(DataError, match=r"there is none with --words-column 3 "):
        texts(tmp_path / name, tagger=True, words_column="3")


def test_entities_are_looked_for_in_words_where_there_is_no_text(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"tokens": ["Anna", "left"], "tags": ["B-PER", "O"]},
        {"tokens": ["not", "read"], "text": "Ulm"},
        {"tokens": []},
        {"tokens": None},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert texts(path, tagger=True) == ["Anna left", "Ulm", "", ""]
    for record, message in (
        ({"tokens": "Anna left"}, r"a.jsonl:1: 'tokens' is a str .*--words-column"),
        ({"tokens": ["Anna left"]}, r"a.jsonl:1: 'Anna left' is not a word"),
        ({"words": ["Anna"]}, r"a.jsonl:1: Unknown column 'text'.*--text-column or --words-column"),
    ):
        path.write_text(json.dumps(record))
        with pytest.raises(DataError, match=message):
            texts(path, tagger=True)


def test_texts_that_end_in_a_capital_letter_are_no_tags(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("I am in Group O\nAnna left\n")
    assert texts(tmp_path / "a.txt", tagger=True) == ["I am in Group O", "Anna left"]


def test_long_quoted_texts_of_csv_are_one_row_each(tmp_path: Path) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    given = ["two\nlines", 'a "word", so', "\n", ""]
    writer.writerows([["text"], *([text] for text in given)])
    (tmp_path / "a.csv").write_text(buffer.getvalue(), encoding="utf-8")
    assert texts(tmp_path / "a.csv") == given


def test_columns_to_keep_may_be_listed_with_commas(tmp_path: Path) -> None:
    record = {"text": "a", "id": 1, "date": 2, "place, time": 3}
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    for keep in (["id,date"], ["id", "date"], ["id, date"]):
        ((row,), _) = read_rows(Source(tmp_path / "a.jsonl", keep=keep), tagger=False)
        assert row.copied == {"row": 1, "id": 1, "date": 2}
    ((row,), _) = read_rows(Source(tmp_path / "a.jsonl", keep=["place, time"]), tagger=False)
    assert row.copied == {"row": 1, "place, time": 3}


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.conll"])
def test_an_empty_file_is_to_be_filled_or_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=rf"{name} is empty\. Add texts to it, or give another"):
        read_rows(Source(tmp_path / name), tagger=True)
