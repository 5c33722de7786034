"""Label Studio's files: what goes out comes back, and whatever else comes is one sentence.

tests/data/label_studio has exports of a real server (README.md there); the other files here have
the same form.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import DataError
from tutelage.records import Label
from tutelage.review.label_studio import configuration, new_task, read_export
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import Span, read_spans, write_spans

RECORDED = Path(__file__).parents[2] / "data" / "label_studio"
TOPICS = ClassificationTask([Label("music", "music", "songs"), Label('a "b" & <c>', "b", "")])
TAGS = NerTask([Label("PER", "person", "people"), Label("LOC", "place", "")])
TEXT = "🎸 Anna Lee left U.S. Köln 👨🏻 ."


def exported(task: Any, **annotation: Any) -> dict[str, Any]:
    """A task as the server exports it, with one annotation."""
    whole = {"id": 5, "completed_by": 1, "was_cancelled": False, "ground_truth": False}
    return {"id": 9, "annotations": [{**whole, "result": [], **annotation}], **task, "drafts": []}


def answer(task: Any, tasks: list[dict[str, Any]]) -> Any:
    return read_export(task, json.dumps(tasks).encode())


def marks(*ranges: tuple[int, int, str], **more: Any) -> dict[str, Any]:
    """The export of a text with entities."""
    result = [
        {
            "type": "labels",
            "value": {"start": start, "end": end, "text": TEXT[start:end], "labels": [type]} | more,
        }
        for start, end, type in ranges
    ]
    return exported({"data": {"text": TEXT, "row": "r"}}, result=result)


def test_the_configuration_is_xml_with_every_label() -> None:
    root = ET.fromstring(configuration(TOPICS))
    assert [one.get("value") for one in root.iter("Choice")] == ["music", 'a "b" & <c>']
    assert [one.get("hint") for one in root.iter("Choice")] == ["songs", None]
    root = ET.fromstring(configuration(TAGS))
    assert [one.get("value") for one in root.iter("Label")] == ["PER", "LOC"]
    assert root.find("Labels").get("toName") == root.find("Text").get("name")  # type: ignore[union-attr]


@given(
    st.lists(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1), min_size=1),
    st.data(),
)
def test_what_is_annotated_as_predicted_comes_back(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    kinds = data.draw(st.lists(st.sampled_from(["PER", "LOC", ""]), max_size=len(words)))
    target = write_spans(Span(at, at + 1, kind) for at, kind in enumerate(kinds) if kind)
    (prediction,) = new_task(TAGS, "r", text, {"teacher": (target, 0.5)})["predictions"]
    (back,) = answer(
        TAGS, [exported({"data": {"text": text, "row": "r"}}, result=prediction["result"])]
    )
    assert [(vote.target, vote.widened) for vote in back.votes] == [(target, 0)]
    for label in ("music", 'a "b" & <c>'):
        (prediction,) = new_task(TOPICS, "r", text, {"student": (label, 1.0)})["predictions"]
        (back,) = answer(
            TOPICS, [exported({"data": {"text": text, "row": "r"}}, result=prediction["result"])]
        )
        assert [vote.target for vote in back.votes] == [label]


def test_offsets_are_code_points_or_else_what_the_quoted_text_says() -> None:
    start = TEXT.index("Köln")
    ((vote,),) = (one.votes for one in answer(TAGS, [marks((start, start + 4, "LOC"))]))
    assert vote.target == '[[5, 6, "LOC"]]'
    # The guitar before it has two units of UTF-16.
    units = marks((start, start + 4, "LOC"), start=start + 1, end=start + 5)
    assert answer(TAGS, [units])[0].votes == (vote,)
    # Without a quoted text there is nothing to tell by.
    bare = marks((start, start + 4, "LOC"))
    del bare["annotations"][0]["result"][0]["value"]["text"]
    assert answer(TAGS, [bare])[0].votes == (vote,)


def test_marks_within_words_are_widened_and_counted() -> None:
    start = TEXT.index("U.S")
    (task,) = answer(TAGS, [marks((start, start + 3, "LOC"), (1, 10, "PER"))])
    # The space before "Anna" is no part of a word.
    assert task.votes[0].target == '[[1, 3, "PER"], [4, 5, "LOC"]]'
    assert task.votes[0].widened == 1


def test_skipped_and_open_tasks_have_no_vote_and_no_entity_is_a_label() -> None:
    data = {"data": {"text": TEXT, "row": "r"}}
    (skipped,) = answer(TAGS, [exported(data, was_cancelled=True)])
    assert (skipped.votes, skipped.skipped) == ((), True)
    (left,) = answer(TAGS, [{**data, "annotations": []}])
    assert (left.votes, left.skipped) == ((), False)
    (empty,) = answer(TAGS, [exported(data)])
    assert [vote.target for vote in empty.votes] == ["[]"]
    (described,) = answer(TAGS, [exported(data, completed_by={"id": 7, "email": "a@b"})])
    assert described.votes[0].annotator == "7"


def recorded(name: str) -> tuple[bytes, list[dict[str, Any]]]:
    content = (RECORDED / f"{name}.json").read_bytes()
    return content, json.loads(content)


def test_a_real_export_of_classes_is_read() -> None:
    content, tasks = recorded("classification")
    labels = ("AddToPlaylist", "BookRestaurant", "GetWeather", "PlayMusic", "RateBook")
    names = [*labels, "SearchCreativeWork", "SearchScreeningEvent"]
    found = read_export(ClassificationTask([Label(name, name, "") for name in names]), content)
    assert [one.text for one in found] == [one["data"]["text"] for one in tasks]
    # The first one has two labels, and the fourth was skipped by one of two.
    assert [len(one.votes) for one in found] == [2, 2, 2, 1, *[1] * 19, 0]
    assert found[0].votes[0].target != found[0].votes[1].target == "RateBook"
    assert [vote.annotator for vote in found[0].votes] == ["1", "2"]
    assert not any(one.skipped for one in found)


def test_a_real_export_of_entities_is_read() -> None:
    content, tasks = recorded("ner")
    found = read_export(NerTask([Label(name, name, "") for name in ("PER", "LOC", "ORG")]), content)
    assert [one.skipped for one in found] == [number == 3 for number in range(25)]
    assert [len(one.votes) for one in found] == [number not in (3, 24) for number in range(25)]
    for one, task in zip(found, tasks, strict=True):
        for vote in one.votes:
            words = one.text.split(" ")
            marked = [
                (" ".join(words[span.start : span.end]), span.type)
                for span in read_spans(vote.target)
            ]
            values = [mark["value"] for mark in task["annotations"][0]["result"]]
            assert marked == [(value["text"], *value["labels"]) for value in values]
            assert vote.widened == 0
    assert sum(len(read_spans(vote.target)) for one in found for vote in one.votes) > 20


CHOICE = {"type": "choices", "value": {"choices": ["music"]}}
DATA = {"text": "a text", "row": "r"}


def topic(*result: Any, **annotation: Any) -> dict[str, Any]:
    return exported({"data": DATA}, **{"result": list(result), **annotation})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"1" * 5000, "not valid JSON"),
        (b"{}", "holds a dict, not a list of tasks"),
        (b"[]", "holds an empty list"),
        (b"[3]", "Entry 1 is 3, not an object"),
        ([{"text": "a", "label": "music", "id": 3}], r'Entry 1 \(task 3\) has no "annotations"'),
        ([{"annotations": []}], '"data" of Entry 1 is None'),
        ([{"annotations": [], "data": {"text": "a"}}], '"data.row" of Entry 1 is None'),
        ([{"annotations": {}, "data": DATA}], '"annotations" of Entry 1 is {}, not a list'),
        ([{"annotations": [7], "data": DATA}], "Annotation 1 of Entry 1 is 7"),
        ([topic(CHOICE), topic(CHOICE)], "were imported twice"),
        ([topic(CHOICE, was_cancelled="yes")], '"was_cancelled" of annotation 1'),
        ([topic(CHOICE, result=None)], '"result" of annotation 1'),
        ([topic(CHOICE, completed_by=[1])], '"completed_by" of annotation 1'),
        ([topic("music")], "A mark of annotation 1 .* is 'music', not an object"),
        ([topic()], "has 0 choices"),
        ([topic(CHOICE, CHOICE)], "has 2 choices"),
        ([topic({"type": "choices"})], '"value" of a mark'),
        ([topic({"type": "choices", "value": {"choices": "music"}})], "'music', not a list"),
        ([topic({"type": "choices", "value": {"choices": [["music"]]}})], "A label is"),
        ([topic({"type": "choices", "value": {"choices": ["musik"]}})], "musik.*music"),
        ([topic({"type": "labels", "value": {}})], "type 'labels' where 'choices' is needed"),
    ],
)
def test_any_other_form_is_one_sentence(content: Any, said: str) -> None:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(DataError, match=said) as raised:
        read_export(TOPICS, raw)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (marks((2, 6, "ORG")), "ORG"),
        (marks((2, 6, "PER"), labels=[]), "has 0 types"),
        (marks((2, 6, "PER"), labels=["PER", "LOC"]), "has 2 types"),
        (marks((2, 6, "PER"), start=2.0), '"start" of a mark .* is 2.0'),
        (marks((2, 6, "PER"), end=True), '"end" of a mark .* is True'),
        (marks((2, 6, "PER"), start=-1), "is -1"),
        (marks((2, 6, "PER"), end=None), "is None"),
        (marks((6, 2, "PER")), "runs from 6 to 2"),
        (marks((2, 900, "PER")), "ends at 900"),
        (marks((2, 10**30, "PER")), "ends at 1000"),
        (marks((2, 6, "PER"), text="Otto"), "quotes 'Otto'.* 'Anna'"),
        (marks((1, 2, "PER")), "covers no word"),
        (marks((2, 6, "PER"), (2, 10, "LOC")), "overlap"),
        (marks((2, 6, "PER"), (2, 6, "LOC")), "overlap"),
    ],
)
def test_marks_that_are_no_entities_are_one_sentence(task: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as raised:
        answer(TAGS, [task])
    assert "\n" not in str(raised.value)
