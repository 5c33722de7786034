"""The ledger: appending, cutting back, and reading again after any failure."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.pool import Pool, PoolCopy, RowReader
from tutelage.errors import RunError
from tutelage.records import LabelDistribution, Row


def row(number: int, *, round: int = 0, accepted: bool = True, text: str = "") -> Row:
    return Row(
        id=f"r{number}",
        text=text or f"text {number}",
        target="A",
        source="easy",
        round=round,
        accepted=accepted,
        reason="" if accepted else "duplicate",
        distribution=LabelDistribution(("A", "B"), (0.9, 0.1), 0.2, (0.8, 0.2)),
        parents=("p1", "p2"),
        detail={"style": "short"},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pool" / "rows.jsonl"


def test_rows_come_back_as_they_were(path: Path) -> None:
    pool = Pool.open(path)
    pool.append([row(1), row(2, accepted=False)])
    pool.append([row(3, round=1)])
    again = Pool.open(path)
    assert again.rows == pool.rows == (row(1), row(2, accepted=False), row(3, round=1))
    assert [r.id for r in again.accepted()] == ["r1", "r3"]
    assert [r.id for r in again.of_round(1)] == ["r3"]
    assert len(again) == 3
    assert again.digest() == pool.digest()


@settings(deadline=None)  # it waits for the disk
@given(st.lists(st.text(alphabet=st.characters(), max_size=20), max_size=6))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("pool") / "rows.jsonl"
    pool = Pool.open(path)
    pool.append([replace(row(number), text=text) for number, text in enumerate(texts)])
    again = Pool.open(path)
    assert again.rows == pool.rows
    assert again.digest() == pool.digest()


def test_half_a_surrogate_pair_survives(path: Path) -> None:
    pool = Pool.open(path)
    pool.append([row(1, text="broken \ud83d emoji")])
    assert Pool.open(path).rows[0].text == "broken \ud83d emoji"
    assert Pool.open(path).digest() == pool.digest()


@pytest.mark.parametrize("batch", [[row(1)], [row(2), row(2)]])
def test_an_id_is_refused_twice_and_nothing_is_written(path: Path, batch: list[Row]) -> None:
    pool = Pool.open(path)
    pool.append([row(1)])
    with pytest.raises(RunError, match=r"Row 'r\d' .* already"):
        pool.append(batch)
    assert len(pool) == len(Pool.open(path)) == 1


def test_a_number_that_is_not_finite_is_refused(path: Path) -> None:
    pool = Pool.open(path)
    with pytest.raises(RunError, match="not finite"):
        pool.append([replace(row(1), weight=float("nan"))])
    assert path.read_bytes() == b""


def test_the_digest_leaves_floats_out_and_sees_everything_else(tmp_path: Path) -> None:
    def digest(*rows: Row) -> str:
        pool = Pool.open(tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl")
        pool.append(rows)
        return pool.digest()

    plain = digest(row(1), row(2))
    assert digest(replace(row(1), weight=0.5, distribution=None), row(2)) == plain
    others = [
        replace(row(1), id="x"),
        replace(row(1), text="x"),
        replace(row(1), target="B"),
        replace(row(1), source="hard"),
        replace(row(1), round=1),
        replace(row(1), accepted=False),
        replace(row(1), reason="x"),
    ]
    digests = {digest(other, row(2)) for other in others} | {digest(row(2), row(1)), digest(row(1))}
    assert plain not in digests
    assert len(digests) == 9


@pytest.mark.parametrize("length", [0, 1, 3, 5])
def test_truncate_goes_back_to_a_checkpoint(path: Path, length: int) -> None:
    pool = Pool.open(path)
    pool.append([row(number, text="ü" * number + "x") for number in range(5)])
    before = pool.digest(length)
    pool.truncate(length, before)
    assert len(pool) == length
    assert pool.digest() == before == Pool.open(path).digest()
    pool.append([row(9), row(4)] if length < 5 else [row(9)])
    assert Pool.open(path).rows == pool.rows


def test_truncate_refuses_what_does_not_match_and_keeps_the_file(path: Path) -> None:
    pool = Pool.open(path)
    pool.append([row(1), row(2)])
    content = path.read_bytes()
    with pytest.raises(RunError, match=r"first 1 rows .* hash"):
        pool.truncate(1, pool.digest())
    with pytest.raises(RunError, match=r"knows 3 rows, but .* has 2"):
        pool.truncate(3, pool.digest())
    assert path.read_bytes() == content


def test_every_cut_of_the_file_opens_with_whole_rows_only(path: Path) -> None:
    pool = Pool.open(path)
    pool.append([row(1), row(2, text="ü\n")])
    content = path.read_bytes()
    ends = [0, content.index(b"\n") + 1, len(content)]
    for size in range(0, len(content) + 1, 7):
        path.write_bytes(content[:size])
        opened = Pool.open(path)
        whole = sum(end <= size for end in ends[1:])
        assert opened.rows == pool.rows[:whole]
        assert path.stat().st_size == ends[whole]
        opened.append([row(7)])
        assert Pool.open(path).rows == (*pool.rows[:whole], row(7))


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[1]",
        "not json",
        '{"id": "a", "unknown": 1}',
        "\x00\x00",
        '{"id": "a", "distribution": 3}',
    ],
)
def test_a_broken_line_is_named(path: Path, line: str) -> None:
    Pool.open(path).append([row(1)])
    with path.open("a") as handle:
        handle.write(line + "\n")
    with pytest.raises(RunError, match=r"rows\.jsonl:2 is not a row"):
        Pool.open(path)


def test_a_repeated_id_in_the_file_is_named(path: Path) -> None:
    Pool.open(path).append([row(1)])
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(RunError, match=r"rows\.jsonl:2 repeats the id 'r1'"):
        Pool.open(path)


def test_a_full_disk_leaves_no_half_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool.open(path)
    pool.append([row(1)])
    content = path.read_bytes()
    real = os.write
    written = 0

    def full(descriptor: int, data: Any) -> int:
        nonlocal written
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, bytes(data)[:40])
        return written

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(
        RunError, match=r"rows\.jsonl could not be written \(No space left on device\).*resume"
    ):
        pool.append([row(2), row(3)])
    monkeypatch.undo()
    assert written == 40
    assert path.read_bytes() == content
    assert len(pool) == 1
    pool.append([row(2)])
    assert [r.id for r in Pool.open(path).rows] == ["r1", "r2"]


def test_a_device_that_is_full_is_told(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    pool = Pool(path)
    with pytest.raises(RunError, match="No space left on device"):
        pool.append([row(1)])
    assert len(pool) == 0


def test_what_an_interrupted_append_left_is_cut_by_the_next(path: Path) -> None:
    pool = Pool.open(path)
    pool.append([row(1)])
    with path.open("ab") as handle:
        handle.write(b"x" * 5000)
    pool.append([row(2)])
    assert Pool.open(path).rows == (row(1), row(2))


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "pool").write_text("a file, not a folder")
    with pytest.raises(RunError, match="could not be written"):
        Pool.open(tmp_path / "pool" / "rows.jsonl")


def test_a_line_is_plain_json(path: Path) -> None:
    Pool.open(path).append([row(1, text="été")])
    line = path.read_text(encoding="utf-8")
    assert "été" in line
    assert json.loads(line)["distribution"]["labels"] == ["A", "B"]


def test_what_is_kept_as_rows_arrive_is_what_the_file_says(path: Path) -> None:
    """Hash, rounds and reader after appending and cutting, against a ledger read anew."""
    pool, reader = Pool.open(path), RowReader()
    seen: list[Row] = []

    def check() -> None:
        again = Pool.open(path)
        assert pool.digest() == pool.digest(len(pool)) == again.digest() == _slow(again.rows)
        assert pool.digest(2) == _slow(again.rows[:2])
        assert pool.newest_round == max((one.round for one in again.rows), default=0)
        for round in range(4):
            expected = tuple(one for one in again.rows if one.round == round)
            assert pool.of_round(round) == again.of_round(round) == expected
        new, anew = reader.read(pool)
        if anew:
            seen.clear()
        seen.extend(new)
        assert tuple(seen) == pool.rows

    check()
    for first in (0, 3, 6):
        pool.append([row(first + n, round=first // 3, accepted=n > 0) for n in range(3)])
        check()
        check()
    pool.truncate(4, pool.digest(4))
    check()
    # As many rows as before, but others.
    pool.append([row(20 + n, round=3) for n in range(5)])
    check()
    pool.truncate(0, pool.digest(0))
    check()


def _slow(rows: tuple[Row, ...]) -> str:
    lines = [
        json.dumps([one.id, one.text, one.target, one.source, one.round, one.accepted, one.reason])
        for one in rows
    ]
    return hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


def test_a_copy_holds_the_same_rows_in_memory(path: Path) -> None:
    pool = Pool.open(path)
    pool.append([row(1), row(2, round=1)])
    copy = PoolCopy(pool.rows)
    new = [row(3, round=2), row(4, round=2, accepted=False)]
    pool.append(new)
    copy.append(new)
    assert copy.rows == pool.rows
    assert copy.digest() == pool.digest()
    assert copy.of_round(2) == pool.of_round(2)
    assert not copy.path.exists()
    # Lightning restores its length from a checkpoint.
    copy.truncate(2, pool.digest(2))
    assert copy.rows == pool.rows[:2]
