"""Labels and entities from a run's student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.classification import NAMES
from tests.helpers.tiny_student import tiny_encoder, tiny_network, tiny_tokenizer

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


def asked(
    run: Path, *texts: str, file: Path | None = None, column: str = "text", output: Path
) -> list[dict[str, Any]]:
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
        assert record["probabilities"] == pytest.approx(
            dict(zip(NAMES, shares, strict=True)), abs=1e-4
        )
        assert record["label"] == max(record["probabilities"], key=record["probabilities"].get)
        assert record["confidence"] == record["probabilities"][record["label"]]


def test_the_student_s_folder_will_do_and_lines_go_to_the_screen(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert [
        record["text"] for record in asked(finished, *texts, output=tmp_path / "out.jsonl")
    ] == texts


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
        (
            "in.jsonl",
            b'{"txt": "a"}\n',
            r"Unknown column 'text'. Did you mean 'txt'.*--text-column",
        ),
        ("in.jsonl", b'{"text": "a"}\nnot json\n', r"in\.jsonl, line 2: not JSON"),
        ("in.jsonl", b'["text"]\n', r"line 1: not an object"),
        ("in.csv", b"sentence,label\na,b\n", r"row 1: Unknown column 'text'"),
        ("in.txt", b"caf\xe9 au lait\n", r"is not UTF-8 \(byte 0xe9 at offset 3\)"),
        ("in.txt", b"", "nothing to label"),
    ],
)
def test_files_that_cannot_be_read(
    finished: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
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
