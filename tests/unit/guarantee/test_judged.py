"""Predictions beside the truth, for both tasks."""

from __future__ import annotations

from typing import Any

from tutelage.guarantee.command import split_of
from tutelage.guarantee.judged import judge
from tutelage.records import Example, Label
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import Span, write_spans


class Scripted:
    """A student with prepared predictions."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = found

    def stream(self, texts: list[str], *, with_confidence: bool) -> Any:
        assert with_confidence
        assert len(texts) == len(self.found)
        return iter(self.found)


def test_a_sentence_is_right_if_all_of_its_entities_are() -> None:
    task = NerTask([Label("PER", "person", ""), Label("LOC", "place", "")])
    text = "Ada Lovelace met Zoë"
    spans = write_spans([Span(0, 2, "PER"), Span(3, 4, "PER")])
    examples = [Example(str(n), text, target) for n, target in enumerate([spans] * 4 + ["[]"])]
    ada = {"start": 0, "end": 12, "label": "PER"}
    zoe = {"start": 17, "end": 20, "label": "PER"}
    marked = ([ada, zoe], [ada], [ada, {**zoe, "label": "LOC"}], [ada, {**zoe, "end": 19}], [])
    student = Scripted(*({"entities": one, "confidence": 0.5} for one in marked))
    judged = judge(student, task, examples)
    assert judged.right.tolist() == [True, False, False, False, True]
    assert judged.of_the_right_label is None
    split = split_of("dev", judged, 0.5, None)
    assert (split.kept, split.right, split.covered, split.labels) == (5, 2, None, None)


def test_labels_have_their_probabilities_and_sets() -> None:
    task = ClassificationTask([Label(name, name, "") for name in ("a", "b", "c")])
    shares = ({"a": 0.7, "b": 0.2, "c": 0.1}, {"a": 0.3, "b": 0.5, "c": 0.2})
    found = [
        {"label": label, "confidence": one[label], "probabilities": one}
        for label, one in zip("ab", shares, strict=True)
    ]
    examples = [Example("1", "x", "a"), Example("2", "y", "c")]
    judged = judge(Scripted(*found), task, examples)
    assert judged.right.tolist() == [True, False]
    assert judged.of_the_right_label is not None
    assert judged.of_the_right_label.tolist() == [0.7, 0.2]
    split = split_of("test", judged, 0.7, 0.3)
    assert (split.kept, split.right, split.covered, split.labels) == (1, 1, 1, 3)
    assert split_of("test", judged, None, 0.3).kept == 0
