"""Labels from a run's student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.classroom import NAMES
from tests.tiny_student import tiny_encoder, tiny_network, tiny_tokenizer

from tutelage.errors import DataError
from tutelage.predict import predict
from tutelage.student.checkpoint import load_student, save_student


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with nothing but its student."""
    base = tmp_path_factory.mktemp("run")
    encoder = tiny_encoder(base / "encoder")
    save_student(base / "student", tiny_network(encoder), tiny_tokenizer(), 12)
    return base


def asked(run: Path, *texts: str, file: Path | None = None, column: str = "text", output: Path) -> list[dict[str, Any]]:
    assert predict(run, texts, file, column, output) == 0
    return [json.loads(line) for line in output.read_text(encoding="utf-8").split("\n") if line]


def test_each_text_gets_its_probabilities(finished: Path, tmp_path: Path) -> None:
    import torch

    texts = ["animal dune", "tool quay shore 42", "naïve “text” [bold]"]
    found = asked(finished, *texts, output=tmp_path / "out.jsonl")
    network, tokenizer, _ = load_student(finished / "student")
    for record, text in zip(found, texts, strict=True):
        with torch.no_grad():
            batch = tokenizer([text], truncation=True, max_length=12, return_tensors="pt")
            expected = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        shares = expected.logits.softmax(-1)[0].tolist()
        assert record["text"] == text
        assert record["probabilities"] == pytest.approx(dict(zip(NAMES, shares, strict=True)), abs=1e-4)
        assert record["label"] == max(record["probabilities"], key=record["probabilities"].get)
        assert record["confidence"] == record["probabilities"][record["label"]]


def test_the_student_s_folder_will_do_and_lines_go_to_the_screen(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    predict(finished / "student", ["animal dune"], None, "text", None)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["text"] == "animal dune"


def test_long_texts_are_cut_as_in_training(finished: Path, tmp_path: Path) -> None:
    long = "animal " * 9 + "dune"  # ten words, and two special tokens make twelve
    first, second = asked(finished, long, long + " tool quay", output=tmp_path / "out.jsonl")
    assert first["probabilities"] == second["probabilities"]


def test_more_texts_than_a_batch(finished: Path, tmp_path: Path) -> None:
    texts = [f"animal {n}" for n in range(130)]
    assert [record["text"] for record in asked(finished, *texts, output=tmp_path / "out.jsonl")] == texts


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.jsonl", '{"text": "animal dune"}\n\n{"text": "tool \\u2028 quay", "label": "x"}\n'),
        ("in.csv", 'label,text\nx,animal dune\ny,"tool \u2028 quay"\n'),
        ("in.txt", "animal dune\n\ntool \u2028 quay\n"),
    ],
)
def test_files_in(finished: Path, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = asked(finished, "first", file=tmp_path / name, output=tmp_path / "out.jsonl")
    assert [record["text"] for record in found] == ["first", "animal dune", "tool \u2028 quay"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.jsonl", b'{"txt": "a"}\n', r"Unknown column 'text'. Did you mean 'txt'.*--text-column"),
        ("in.jsonl", b'{"text": "a"}\nnot json\n', r"in\.jsonl, line 2: not JSON"),
        ("in.jsonl", b'["text"]\n', r"line 1: not an object"),
        ("in.csv", b"sentence,label\na,b\n", r"row 1: Unknown column 'text'"),
        ("in.txt", b"caf\xe9 au lait\n", r"is not UTF-8 \(byte 0xe9 at offset 3\)"),
        ("in.txt", b"", "nothing to label"),
    ],
)
def test_files_that_cannot_be_read(finished: Path, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        predict(finished, [], tmp_path / name, "text", None)


def test_nothing_to_label_and_nothing_to_label_with(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to label: give texts"):
        predict(finished, [], None, "text", None)
    with pytest.raises(DataError, match="does not exist"):
        predict(finished, [], tmp_path / "none.txt", "text", None)
    with pytest.raises(DataError, match=r"holds no student \(no config.json\)"):
        predict(tmp_path, ["a text"], None, "text", None)
