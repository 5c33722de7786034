"""Damaged data files through the reader of train and that of predict."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
from pathlib import Path

from tests.campaign.hostile import PIECES
from tests.campaign.inputs import Inputs
from tests.campaign.outcome import Outcome
from tests.helpers.bad_data import MUSIC, WEATHER

from tutelage.data.sources import load_files
from tutelage.errors import TutelageError

ENDINGS = ("jsonl", "csv", "tsv", "conll", "json", "txt", "parquet")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1")


def measure(inputs: Inputs, scratch: Path, count: int, rng: random.Random) -> Outcome:
    """Read ``count`` damaged folders, and predict on the damaged file of each."""
    outcome = Outcome("a damaged data file is read whole, or an error names file and line")
    student = _student(inputs, scratch)
    for number in range(count):
        ending = ENDINGS[number % len(ENDINGS)]
        folder = scratch / f"data-{number}"
        folder.mkdir()
        kind = "ner" if ending in ("conll", "txt") else "classification"
        for split, rows in _splits().items():
            _write(folder / f"{split}.{ending}", rows)
        damage = _damage(folder / f"train.{ending}", rng)
        faults = _train(folder, kind, outcome) + _predict(
            student, folder / f"train.{ending}", scratch, outcome
        )
        outcome.add(faults, name=f"{number} {ending}, {damage}")
    return outcome


def _train(folder: Path, kind: str, outcome: Outcome) -> list[str]:
    try:
        data = load_files(folder, kind=kind)
    except TutelageError as error:
        outcome.note("train refused")
        return [] if str(folder) in str(error) or "files" in str(error) else [f"no place: {error}"]
    except Exception as error:  # every other exception is a fault
        return [f"train: {type(error).__name__}: {str(error)[:160]}"]
    outcome.note("train read")
    outcome.note("train read with a warning", bool(data.warnings))
    texts = [one.text for part in (data.pool, data.dev, data.test) for one in part]
    faults = [] if all(_writable(text) for text in texts) else ["a text that cannot be written"]
    for split in data.splits:
        if split.read != split.kept + sum(split.dropped.values()):
            faults.append(f"{split.name}: {split.read} read is not kept + dropped ({split.line()})")
    return faults


def _predict(student: Path, path: Path, scratch: Path, outcome: Outcome) -> list[str]:
    from tutelage.cli import main

    output = scratch / "predictions.jsonl"
    output.unlink(missing_ok=True)
    command = ["predict", str(student), "--file", str(path), "--output", str(output)]
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            code = main(command)
    except SystemExit as ending:
        code = int(ending.code or 0)
    except Exception as error:  # every other exception is a fault
        return [f"predict: {type(error).__name__}: {str(error)[:160]}"]
    if code:
        outcome.note("predict refused")
        return ["predict left half a file"] if output.exists() else []
    outcome.note("predict read")
    # Not splitlines(): a text may hold other line separators.
    lines = output.read_text(encoding="utf-8").split("\n")
    records = [json.loads(line) for line in lines if line]
    numbers = [record["row"] for record in records]
    return [] if numbers == sorted(set(numbers)) else ["predict: rows out of order or twice"]


def _student(inputs: Inputs, scratch: Path) -> Path:
    """The folder of a finished run."""
    from tests.helpers import tiny

    run = scratch / "finished"
    given = [*inputs.classification(), "method=shots", "training.start_epochs=1"]
    tiny.grow(run, given)
    return run


def _splits() -> dict[str, list[tuple[str, str]]]:
    rows = [*((text, "music") for text in MUSIC), *((text, "weather") for text in WEATHER)]
    return {"train": [*rows[0:4], *rows[6:10]], "validation": rows[4:5] + rows[10:11],
            "test": rows[5:6] + rows[11:12]}  # fmt: skip


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    records = [{"text": text, "label": label} for text, label in rows]
    if path.suffix in (".jsonl", ".json"):
        text = "".join(json.dumps(record) + "\n" for record in records)
    elif path.suffix in (".csv", ".tsv"):
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([("text", "label"), *rows])
        text = buffer.getvalue()
    elif path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
        return
    else:
        text = "\n\n".join(
            "\n".join(f"{word} {'B-X' if at == 0 else 'O'}" for at, word in enumerate(one.split()))
            for one, _ in rows
        )
    path.write_text(text + "\n", encoding="utf-8")


def _damage(path: Path, rng: random.Random) -> str:
    """Damage one file in one to three ways, and return their names."""
    done = []
    for _ in range(rng.randint(1, 3)):
        data = path.read_bytes()
        at = rng.randint(0, len(data))
        way = rng.choice(("cut", "flip", "insert", "double", "swap", "encode", "quote", "lines"))
        if way == "cut":
            data = data[:at]
        elif way == "flip" and data:
            place = rng.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]
        elif way == "insert":
            piece = rng.choice(PIECES).encode("utf-8", rng.choice(("surrogatepass", "replace")))
            data = data[:at] + piece + data[at:]
        elif way == "double":
            data += data
        elif way == "swap":
            data = data.replace(b"label", rng.choice((b"text", b"class", b"LABEL", b"")))
        elif way == "encode" and path.suffix != ".parquet":
            text = data.decode("utf-8", "replace").replace("play", "plàÿ")
            data = text.encode(rng.choice(ENCODINGS), "replace")
        elif way == "quote":
            data = data[:at] + b'"' + data[at:]
        elif way == "lines":
            data = data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b" ")))
        path.write_bytes(data)
        done.append(way)
    return ", ".join(done)


def _writable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
