"""Large files: the same rows as when they are read whole, in memory that does not grow."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tutelage.data import streamed
from tutelage.data.unlabelled import Source, read_rows
from tutelage.errors import DataError

TEXTS = ["animal dune", "naïve “amber”, 🦊", "", 'a "quoted" word; so', "  tool\tquay "] * 8
BROKEN_LINES = [*TEXTS, "two\nlines"]


def table(separator: str, texts: list[str]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator)
    writer.writerows([["id", "text"], *([number, text] for number, text in enumerate(texts))])
    return buffer.getvalue()


def lines_of(texts: list[str]) -> str:
    return "".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts))


FILES = {
    "a.jsonl": lines_of(BROKEN_LINES),
    "a.csv": table(",", BROKEN_LINES),
    "b.csv": table(";", BROKEN_LINES),
    "c.csv": "sep=|\n" + table("|", TEXTS),
    "a.tsv": "id\ttext\n" + "".join(f'{n}\tplay "{n}" now\n' for n in range(40)),
    "a.txt": "\n".join(TEXTS),
    "mac.txt": "\r".join(TEXTS),
}


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of more than some bytes are large, and their beginning is a part of them."""
    monkeypatch.setattr(streamed, "WHOLE", 100)
    monkeypatch.setattr(streamed, "_HEAD", 600)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_rows_are_those_of_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, encoding: str, ending: str
) -> None:
    path = tmp_path / f"{name}{ending}"
    data = FILES[name].encode(encoding)
    if ending == ".zst":
        import pyarrow

        with pyarrow.CompressedOutputStream(str(path), "zstd") as file:
            file.write(data)
    else:
        path.write_bytes(gzip.compress(data) if ending else data)
    source = Source(path, keep=[])
    whole, _ = read_rows(source, tagger=False)
    monkeypatch.setattr(streamed, "WHOLE", 100)
    monkeypatch.setattr(streamed, "_HEAD", 600)
    found, _ = read_rows(source, tagger=False)
    assert not isinstance(found, list)
    assert list(found) == list(whole)


def test_parquet_is_read_in_parts(tmp_path: Path, small_limits: None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [{"text": text, "id": number} for number, text in enumerate(TEXTS)]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet", row_group_size=7)
    found, _ = read_rows(Source(tmp_path / "a.parquet", keep=["id"]), tagger=False)
    assert not isinstance(found, list)
    assert [(row.text, row.copied) for row in found] == [
        (text, {"row": number + 1, "id": number}) for number, text in enumerate(TEXTS)
    ]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = json.dumps({"text": "animal dune " * 40}) + "\n"
    count = 80 * 2**20 // len(line)
    path.write_text(line * count)
    tracemalloc.start()
    found, _ = read_rows(Source(path), tagger=False)
    first = list(islice(found, 1))
    rows = len(first) + sum(1 for _ in islice(found, 20_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 20_001
    assert peak < 16 * 2**20 < path.stat().st_size


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", lines_of(TEXTS).encode() + b"no json\n", r"a.jsonl:41: not JSON"),
        ("a.jsonl", lines_of(TEXTS).encode() + b'{"text": 1}\n', r"a.jsonl:41: the text is an in"),
        ("a.csv", table(",", TEXTS).encode() + b"one\r\n", r"a.csv:42: 1 field, but the header"),
        ("a.csv", table(",", TEXTS).encode() + b'9,"open\r\n', r"a.csv:42: not a valid csv file"),
        (
            "a.txt",
            "\n".join(TEXTS * 50).encode() + b"\n\xff\n",
            r"after line [12],\d+ there is a byte 0xff",
        ),
        (
            "a.txt.gz",
            gzip.compress("\n".join(TEXTS).encode(), mtime=0)[:-9],
            r"a.txt.gz cannot be read",
        ),
    ],
)
def test_a_wrong_row_far_behind_is_named(
    tmp_path: Path, small_limits: None, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(Source(tmp_path / name), tagger=False)[0])


def test_columns_that_appear_late_are_kept(
    tmp_path: Path, small_limits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.data.unlabelled._HEAD", 3)
    records: list[dict[str, Any]] = [{"text": "animal", "id": n} for n in range(20)]
    lines = [json.dumps(one) for one in [*records, {"text": "dune", "label": "x"}]]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    *_, last = read_rows(Source(tmp_path / "a.jsonl", keep=[]), tagger=False)[0]
    assert last.copied == {"row": 21, "id": None, "input_label": "x"}


def test_what_cannot_be_streamed_is_read_whole_and_told(tmp_path: Path, small_limits: None) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"text": text} for text in TEXTS]))
    found, warnings = read_rows(Source(tmp_path / "a.json"), tagger=False)
    assert [row.text for row in found] == TEXTS
    assert "a.json is read whole" in warnings[-1]
