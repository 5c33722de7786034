"""Labels and entities from a run's student."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.classification import NAMES
from tests.helpers.tiny_student import tiny_encoder, tiny_network, tiny_tokenizer

from tutelage.data.unlabelled import Source
from tutelage.errors import DataError
from tutelage.predict import predict
from tutelage.records import Label
from tutelage.student.checkpoint import new_tagger, save_student
from tutelage.student.loading import load_student
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import read_spans


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with only a student."""
    base = tmp_path_factory.mktemp("run")
    encoder = tiny_encoder(base / "encoder")
    save_student(base / "student", tiny_network(encoder), tiny_tokenizer(), 12)
    return base


def asked(run: Path, *texts: str, output: Path) -> list[dict[str, Any]]:
    assert predict(run, texts, None, output) == 0
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
        assert record["probabilities"] == pytest.approx(
            dict(zip(NAMES, shares, strict=True)), abs=1e-4
        )
        assert record["label"] == max(record["probabilities"], key=record["probabilities"].get)
        assert record["confidence"] == record["probabilities"][record["label"]]


def test_the_student_s_folder_will_do_and_lines_go_to_the_screen(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    predict(finished / "student", ["animal dune"], None, None)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["text"] == "animal dune"


def test_long_texts_are_cut_as_in_training(finished: Path, tmp_path: Path) -> None:
    long = "animal " * 9 + "dune"  # ten words, and two special tokens make twelve
    first, second = asked(finished, long, long + " tool quay", output=tmp_path / "out.jsonl")
    assert first["probabilities"] == second["probabilities"]


def test_more_texts_than_a_batch(finished: Path, tmp_path: Path) -> None:
    texts = [f"animal {n}" for n in range(130)]
    assert [
        record["text"] for record in asked(finished, *texts, output=tmp_path / "out.jsonl")
    ] == texts


def test_nothing_to_label_and_nothing_to_label_with(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to label: give texts"):
        predict(finished, [], None, None)
    with pytest.raises(DataError, match="does not exist"):
        predict(finished, [], Source(tmp_path / "none.txt"), None)
    with pytest.raises(DataError, match=r"holds no student \(no config.json\)"):
        predict(tmp_path, ["a text"], None, None)


def test_blank_texts_have_no_label_and_keep_their_place(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["animal dune", "", " \n ", "tool quay", "half \ud83d here"]
    found = asked(finished, *texts, output=tmp_path / "out.jsonl")
    assert [record["text"] for record in found] == [*texts[:4], "half \ufffd here"]
    nothing = {"label": None, "confidence": None, "probabilities": None}
    assert found[1:3] == [{"text": "", **nothing}, {"text": " \n ", **nothing}]
    assert found[3] == asked(finished, "tool quay", output=tmp_path / "one.jsonl")[0]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "tutelage: 2 of 5 texts are blank; they get no label."
    assert said[1].startswith("tutelage: 1 of 5 texts (the first is number 5) have characters that")


def test_files_and_their_rows(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(
        'id,text,label\n7,animal dune,x\n8,,y\n9,"tool \u2028 quay",z\n', encoding="utf-8"
    )
    source = Source(tmp_path / "in.csv", keep=["id", "label"])
    assert predict(finished, ["first"], source, tmp_path / "out.jsonl") == 0
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n")
    found = [json.loads(line) for line in lines if line]
    assert [record["text"] for record in found] == ["first", "animal dune", "", "tool \u2028 quay"]
    assert [
        (record.get("row"), record.get("id"), record.get("input_label")) for record in found
    ] == [(None, None, None), (1, "7", "x"), (2, "8", "y"), (3, "9", "z")]
    assert list(found[1]) == [
        *("row", "id", "input_label", "text", "label", "confidence", "probabilities")
    ]
    assert found[1]["label"] in found[1]["probabilities"]


def test_the_reader_s_warnings_are_told(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("text;id\nanimal dune;1\n", encoding="utf-8")
    predict(finished, [], Source(tmp_path / "in.csv"), tmp_path / "out.jsonl")
    assert "in.csv was read with semicolons between its fields" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nodir/out.jsonl", "folder", "file/out.jsonl"])
def test_an_output_that_cannot_be_written_shows_before_the_student_is_loaded(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match=rf"^--output \S+{name} cannot be written: \w.* in an exist"
    ):
        predict(tmp_path / "no student here", ["a text"], None, tmp_path / name)


def test_no_half_file_appears_under_the_output_s_name(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutelage.student.inference import Student

    def stream(self: Student, texts: Any) -> Any:
        yield {"text": "first"}
        assert not (tmp_path / "out.jsonl").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(Student, "stream", stream)
    with pytest.raises(KeyboardInterrupt):
        predict(finished, ["first", "second"], None, tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_continued(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import os
    import signal
    import subprocess
    import sys
    import time

    texts, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    texts.write_text("".join(f"animal {'dune ' * (n % 9)}{n}\n" for n in range(2_000)))
    predict(finished, [], Source(texts), tmp_path / "whole.jsonl")
    command = [sys.executable, "-c", _SLOW, str(finished), str(texts), str(out)]
    with subprocess.Popen(command) as process:
        while not (left := list(tmp_path.glob("out.jsonl.*.part"))) or (
            left[0].read_bytes().count(b"\n") < 512
        ):
            assert process.poll() is None
            time.sleep(0.05)
        with pytest.raises(DataError, match=r"out.jsonl is being written by another process"):
            predict(finished, [], Source(texts), out)
        os.kill(process.pid, signal.SIGKILL)
    assert not out.exists()
    with left[0].open("ab") as file:
        file.write(b'{"row": 513, "text": "half a li')
    capsys.readouterr()
    predict(finished, [], Source(texts), out)
    assert "rows were labelled before and are kept" in capsys.readouterr().err
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in.txt",
        "out.jsonl",
        "whole.jsonl",
    ]


_SLOW = """
import sys, time
from pathlib import Path
from tutelage import predict
from tutelage.data.unlabelled import Source

label = predict.label_rows

def slow(student, rows, *_):
    yield from label(student, rows)
    if rows[0].copied["row"] > 1:
        time.sleep(60)

predict.label_rows = slow
predict.predict(Path(sys.argv[1]), [], Source(Path(sys.argv[2])), Path(sys.argv[3]))
"""
"""Labels the first chunk of a file, and hangs at the second."""


def test_other_rows_are_not_continued(finished: Path, tmp_path: Path) -> None:
    texts, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    texts.write_text("animal\n" * 600)
    predict(finished, [], Source(texts), out)
    rest = out.read_text()
    from tutelage.predict import _digest

    part = tmp_path / f"out.jsonl.{_digest(finished)}.part"
    part.write_text(rest.replace('"text": "animal"', '"text": "dune"', 1))
    predict(finished, [], Source(texts), out)
    assert out.read_text() == rest


def test_a_full_disk_is_one_sentence_and_leaves_the_old_output(
    finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"--output /dev/full cannot be written: No space left"):
        predict(finished, ["animal"], None, Path("/dev/full"))
    (tmp_path / "out.jsonl").write_text("old")
    with pytest.raises(DataError, match="holds no student"):
        predict(tmp_path, ["animal"], None, tmp_path / "out.jsonl")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_the_output_is_not_the_input(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("animal\n")
    with pytest.raises(DataError, match=r"in.txt is the input. Write to another file"):
        predict(finished, [], Source(tmp_path / "in.txt"), tmp_path / "in.txt")


@pytest.mark.parametrize("name", ["out.csv", "out.TSV", "out.parquet", "out.xlsx", "out.jsonl.gz"])
def test_an_output_is_not_named_like_another_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"^--output \S+: predictions are written as JSON lines"):
        predict(tmp_path / "no student here", ["a text"], None, tmp_path / name)


@pytest.mark.parametrize("name", ["-", "/dev/null"])
def test_a_stream_is_not_a_file_of_texts(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"^--file {name} is a stream.* --file texts.txt$"):
        predict(tmp_path, [], Source(Path(name)), None)


def test_a_text_that_names_a_file_is_labelled_and_told(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my texts.csv").write_text("text\nanimal\n")
    named = str(tmp_path / "my texts.csv")
    texts = [named, "none.csv", "a\0.csv", "x" * 9_999, str(finished)]
    assert len(asked(finished, *texts, output=tmp_path / "o.jsonl")) == 5
    said, of_run, *_ = capsys.readouterr().err.splitlines()
    assert said.endswith(f"To label the texts in it: --file '{named}'")
    assert f"'{finished}' is labelled as a text, but is also the folder of a run." in of_run


def test_a_terminal_without_utf_8_gets_valid_json(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", plain)
    predict(finished, ["naïve 🦊"], None, None)
    assert json.loads(plain.buffer.getvalue())["text"] == "naïve 🦊"  # type: ignore[attr-defined]


NER = NerTask([Label("PER", "person", "people"), Label("LOC", "place", "places")])


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An NER run folder with only a student, which sees ten tokens and two special ones."""
    import torch

    base = tmp_path_factory.mktemp("ner")
    encoder = tiny_encoder(base / "encoder")
    torch.manual_seed(3)
    network = new_tagger(str(encoder), NER.outputs)
    # If tags depended on the word alone, reading a word at the wrong position would go unnoticed;
    # this head depends on positions, too.
    torch.nn.init.normal_(network.classifier.weight, std=3.0)
    save_student(base / "student", network, tiny_tokenizer(), 12)
    return base


def distributions(run: Path, words: list[str]) -> list[list[float] | None]:
    """The student's prediction for each word of a text that it sees whole, at its first token."""
    import torch

    network, tokenizer, _ = load_student(run / "student")
    batch = tokenizer([words], is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        rows = (
            network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            .logits.softmax(-1)[0]
            .tolist()
        )
    return [rows[batch.word_ids(0).index(index)] for index in range(len(words))]


def test_entities_have_their_characters_in_the_raw_text(tagger: Path, tmp_path: Path) -> None:
    texts = [
        "animal dune, quay!",
        "  tool\t(quay)  shore 42\n",
        "naïve “amber” 🦊 birch",
        "Cedar's pier",
    ]
    split = [
        ["animal", "dune", ",", "quay", "!"],
        ["tool", "(", "quay", ")", "shore", "42"],
        ["naïve", "“", "amber", "”", "🦊", "birch"],
        ["Cedar", "'s", "pier"],
    ]
    found = asked(tagger, *texts, output=tmp_path / "out.jsonl")
    assert [record["text"] for record in found] == texts
    seen = 0
    for record, text, words in zip(found, texts, split, strict=True):
        assert set(record) == {"text", "entities"}
        rows = distributions(tagger, words)
        predicted, _, tags = NER.read(rows)
        spans = read_spans(predicted)
        assert [entity["label"] for entity in record["entities"]] == [span.type for span in spans]
        for entity, span in zip(record["entities"], spans, strict=True):
            assert text[entity["start"] : entity["end"]] == entity["text"]
            assert entity["text"].split() == entity["text"].strip().split()
            assert "".join(entity["text"].split()) == "".join(words[span.start : span.end])
            least = min(
                rows[index][NER.outputs.index(tags[index])] for index in range(span.start, span.end)
            )
            assert entity["confidence"] == pytest.approx(least, abs=1e-4)
        seen += len(spans)
    assert seen > 2


def test_a_long_text_is_read_to_its_end(tagger: Path, tmp_path: Path) -> None:
    long = " ".join(["animal dune, tool quay shore"] * 12)
    (record,) = asked(tagger, long, output=tmp_path / "out.jsonl")
    assert all(
        long[entity["start"] : entity["end"]] == entity["text"] for entity in record["entities"]
    )
    assert any(entity["end"] > len(long) - 20 for entity in record["entities"])
    # Far from its ends the text is periodic, and so are its windows; the start is read as in
    # training, where texts are cut.
    words = long.replace(",", " ,").split(" ")
    first = read_spans(NER.read(distributions(tagger, words[:10])).predicted)
    assert record["entities"][0]["label"] == first[0].type


@pytest.mark.parametrize("max_length", [3, 4, 5, 8, 12])
@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 31])
def test_each_token_is_read_once_with_text_on_both_sides(max_length: int, count: int) -> None:
    from tutelage.student.tagging import _windows

    ids, words = [100, *range(count), 101], [None, *range(count), None]
    windows = _windows(0, ids, words, max_length)
    assert [index for window in windows for index, _ in window.read] == list(range(1, count + 1))
    room = max_length - 2
    for window in windows:
        assert (window.ids[0], window.ids[-1]) == (100, 101)
        assert len(window.ids) == min(max_length, count + 2)
        for index, column in window.read:
            assert window.ids[column] == ids[index]
            assert column >= min(index, room // 4)
            assert len(window.ids) - 1 - column >= min(count + 1 - index, room // 4)


def test_texts_without_words_have_no_entities(tagger: Path, tmp_path: Path) -> None:
    found = asked(tagger, "", " \n ", "animal", output=tmp_path / "out.jsonl")
    assert [record["entities"] for record in found[:2]] == [[], []]
    assert [record["text"] for record in found] == ["", " \n ", "animal"]


def test_many_texts_come_out_as_each_alone(tagger: Path, tmp_path: Path) -> None:
    texts = [f"animal {'dune ' * (number % 7)}quay {number}" for number in range(130)]
    together = asked(tagger, *texts, output=tmp_path / "out.jsonl")
    assert [record["text"] for record in together] == texts
    for index in (0, 5, 63, 64, 129):
        (alone,) = asked(tagger, texts[index], output=tmp_path / "one.jsonl")
        assert [{**entity, "confidence": 0} for entity in alone["entities"]] == [
            {**entity, "confidence": 0} for entity in together[index]["entities"]
        ]
