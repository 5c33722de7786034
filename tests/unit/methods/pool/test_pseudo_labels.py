"""The student's own labels: which texts have one, of which classes, and what their rows say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.classification import NAMES, SHOTS, context
from tests.helpers.ner import SHOTS as SENTENCES
from tests.helpers.ner import TYPES
from tests.helpers.pool import POOL, class_of

from tutelage.errors import ConfigError
from tutelage.methods.base import class_name_rows
from tutelage.methods.pool.pseudo_labels import PseudoLabels
from tutelage.methods.pool.settings import PseudoLabelSettings
from tutelage.records import Example, Feedback, Row
from tutelage.selectors.protocol import Prediction
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import Span, write_spans

NOTHING = Feedback(0, (), {})
SETTINGS: dict[str, Any] = {
    "name": "pseudo_labels",
    "pool_size": None,
    "rounds": 2,
    "n_texts": 6,
    "min_confidence": 0.5,
}


def sure(target: str, confidence: float) -> Prediction:
    """A prediction of a class, with the rest spread evenly."""
    rest = (1 - confidence) / (len(NAMES) - 1)
    return Prediction(
        target, confidence, tuple(confidence if name == target else rest for name in NAMES)
    )


@dataclass
class View:
    """A scripted ``view_pool``: the true class of each text, surest for the first of a class."""

    known: dict[str, Prediction | None] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)

    def __call__(self, texts: Sequence[str], labelled: Sequence[str]) -> Any:
        self.asked.append(list(texts))
        found = [self.known[text] if text in self.known else self._default(text) for text in texts]

        class Seen:
            def predictions(self) -> list[Prediction | None]:
                return found

        return Seen()

    def _default(self, text: str) -> Prediction:
        own = [one.text for one in POOL if class_of(one.text) == class_of(text)]
        return sure(class_of(text), 0.9 - 0.1 * own.index(text))


def set_up(folder: Path, view: View | None = None, task: Any = None, **changes: Any) -> Any:
    settings = {**SETTINGS, **{k: changes.pop(k) for k in list(changes) if k in SETTINGS}}
    method = PseudoLabels(PseudoLabelSettings(**settings))
    given = {"unlabelled": POOL, "view_pool": view or View(), **changes}
    if task is not None:
        given["task"] = task
    method_context = context(folder, None, **given)
    method.setup(method_context)
    return method, method_context


def test_it_begins_with_the_gold_rows_and_asks_no_teacher(tmp_path: Path) -> None:
    method, _ = set_up(tmp_path)
    assert [row.parents for row in method.first_rows().rows] == [()] * len(SHOTS)
    assert {row.source for row in method.first_rows().rows} == {"gold"}
    assert not method.asks_teacher
    assert method.rounds == 2


def test_each_class_has_its_surest_texts_and_no_text_is_labelled_twice(tmp_path: Path) -> None:
    view = View()
    method, given = set_up(tmp_path, view)
    first = method.next_rows(NOTHING, 1)
    assert Counter(row.target for row in first.rows) == dict.fromkeys(NAMES, 2)
    assert all(row.confidence >= 0.8 - 1e-9 for row in first.rows)
    assert first.asked == 0
    given.pool.append(first.rows)
    second = method.next_rows(NOTHING, 2)
    assert len(view.asked[1]) == len(POOL) - 6
    assert not {row.parents for row in first.rows} & {row.parents for row in second.rows}
    for row in (*first.rows, *second.rows):
        (parent,) = row.parents
        assert row.text == next(one.text for one in POOL if one.id == parent)
        assert (row.source, row.accepted, row.by_student) == ("pool", True, True)
        assert row.distribution is not None
        assert row.distribution.top == row.target == class_of(row.text)
        assert row.distribution.off_label_mass == 0


def test_unsure_and_unseen_texts_stay_out_and_no_class_takes_their_places(tmp_path: Path) -> None:
    unsure = {one.text: sure(NAMES[0], 0.49) for one in POOL if class_of(one.text) == NAMES[0]}
    unseen = {POOL[1].text: None}
    method, _ = set_up(tmp_path, View({**unsure, **unseen}))
    found = method.next_rows(NOTHING, 1).rows
    assert Counter(row.target for row in found) == {NAMES[1]: 2, NAMES[2]: 2}
    assert POOL[1].text not in {row.text for row in found}
    method, _ = set_up(tmp_path / "more", View({**unsure, **unseen}), min_confidence=0.0, n_texts=9)
    assert len(method.next_rows(NOTHING, 1).rows) == 9


def test_fewer_texts_than_classes_take_turns_over_the_rounds(tmp_path: Path) -> None:
    method, given = set_up(tmp_path, n_texts=1)
    targets = []
    for round in (1, 2, 3):
        rows = method.next_rows(NOTHING, round).rows
        given.pool.append(rows)
        targets += [row.target for row in rows]
    assert sorted(targets) == sorted(NAMES)


def test_a_used_up_pool_brings_nothing(tmp_path: Path) -> None:
    method, given = set_up(tmp_path, n_texts=100)
    given.pool.append(method.next_rows(NOTHING, 1).rows)
    assert len(given.pool.rows) == len(POOL)
    assert method.next_rows(NOTHING, 2).rows == ()


def test_a_limited_pool_is_drawn_by_the_seed(tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate((1, 1, 2)):
        view = View()
        method, _ = set_up(tmp_path / str(number), view, pool_size=4, seed=seed)
        method.next_rows(NOTHING, 1)
        drawn.append(view.asked[0])
    assert len(drawn[0]) == 4
    assert drawn[0] == drawn[1] != drawn[2]


def names(*types: str) -> str:
    return write_spans([Span(n, n + 1, type) for n, type in enumerate(types)])


def test_entities_have_the_confidence_of_the_least_certain_word(tmp_path: Path) -> None:
    view = View(
        {
            "Ada met Grace": Prediction(names("PER"), 0.8, (0.8, 0.1, 0.0, 0.1)),
            "Acme and Ada": Prediction(names("ORG", "PER"), 0.7, (0.1, 0.1, 0.1, 0.7)),
            "nothing here": Prediction("[]", 0.95, (0.01, 0.02, 0.02, 0.95)),
            "nothing there": Prediction("[]", 0.9, (0.1, 0.0, 0.0, 0.9)),
            "less of it": Prediction("[]", 0.85, (0.1, 0.0, 0.05, 0.85)),
            # Split between B-PER and I-PER, it only looks like no entity.
            "it may be": Prediction("[]", 0.5, (0.5 + 1e-6, 0.0, 0.0, 0.5 - 1e-6)),
        }
    )
    pool = tuple(Example(text, text) for text in view.known)
    method, _ = set_up(tmp_path, view, NerTask(TYPES), unlabelled=pool, shots=SENTENCES, n_texts=10)
    found = {row.text: row for row in method.next_rows(NOTHING, 1).rows}
    # No more texts without entities than there are with some; the surest of them.
    assert set(found) == {"Ada met Grace", "Acme and Ada", "nothing here"}
    both = found["Acme and Ada"]
    assert (both.entity_confidence, both.confidence) == ((0.7, 0.7), 0.7)
    assert both.distribution is None
    empty = found["nothing here"]
    assert empty.entity_confidence == ()
    assert empty.distribution is not None
    assert (empty.distribution.labels[-1], empty.distribution.top) == ("O", "O")
    assert empty.confidence == 0.95


def test_sentences_without_entities_alone_are_not_learnt(tmp_path: Path) -> None:
    pool = (Example("1", "nothing here"),)
    view = View({"nothing here": Prediction("[]", 0.99, (0.0, 0.0, 0.01, 0.99))})
    method, _ = set_up(tmp_path, view, NerTask(TYPES), unlabelled=pool, shots=SENTENCES)
    assert method.next_rows(NOTHING, 1).rows == ()


def test_it_needs_a_pool_and_something_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the data set has no pool"):
        set_up(tmp_path / "a", unlabelled=())
    with pytest.raises(ConfigError, match=r"Give shots=1 or more .* student\.class_names=true"):
        set_up(tmp_path / "b", shots=())
    task = context(tmp_path / "c", None).task
    named: tuple[Row, ...] = tuple(class_name_rows(task.labels))
    method, _ = set_up(tmp_path / "d", shots=(), class_names=named)
    assert method.first_rows().rows == ()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pool_size": 0}, "method.pool_size=0 leaves"),
        ({"rounds": 0}, "method.rounds=0 and method.n_texts=6 must"),
        ({"n_texts": 0}, "method.rounds=2 and method.n_texts=0 must"),
        ({"min_confidence": 1.5}, "method.min_confidence=1.5 must"),
    ],
)
def test_bounds(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        PseudoLabelSettings(**{**SETTINGS, **changes})
