"""Columns read for NER: a row's content decides, and gold labels are never lost silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.data.folders import folder

from tutelage.characters import unusable_count
from tutelage.data.raw import RawExample, raw_split
from tutelage.data.sources import load_files
from tutelage.errors import DataError
from tutelage.tasks.rows import Columns
from tutelage.tasks.spans import Span, write_spans

WORDS, TAGS, TEXT, SPANS = ["Anna", "left"], ["B-PER", "O"], "Anna left!", [[0, 4, "PER"]]
BY_WORDS = ("Anna left", write_spans([Span(0, 1, "PER")]))
BY_SPANS = ("Anna left !", write_spans([Span(0, 1, "PER")]))
PRODIGY = [
    {"text": "Anna", "start": 0, "end": 4, "id": 0},
    {"text": "left", "start": 5, "end": 9, "id": 1},
]
REST: dict[str, Any] = {
    name: [{"text": f"{who} ran", "spans": [[0, 4, "PER"]]}]
    for name, who in (("validation", "Olga"), ("test", "Piet"))
}


def picked(row: dict[str, Any], need: bool = False) -> tuple[str, str | None]:
    (example,) = raw_split(
        list(row), iter([("f:1", row)]), Columns("ner"), where="f", need_label=need
    ).rows
    assert example == RawExample(example.text, example.label, "f:1")
    return example.text, example.label


@pytest.mark.parametrize("need", [False, True])
@pytest.mark.parametrize(
    ("row", "read"),
    [
        ({"tokens": WORDS, "tags": TAGS}, BY_WORDS),
        ({"text": TEXT, "spans": SPANS}, BY_SPANS),
        ({"text": TEXT, "tokens": WORDS, "spans": SPANS}, BY_SPANS),
        ({"text": TEXT, "tokens": WORDS, "tags": None, "spans": SPANS}, BY_SPANS),
        ({"text": TEXT, "tokens": None, "tags": None, "spans": SPANS}, BY_SPANS),
        ({"text": TEXT, "tokens": None, "spans": SPANS}, BY_SPANS),
        ({"text": TEXT, "tokens": [], "tags": [], "spans": SPANS}, BY_SPANS),
        ({"text": TEXT, "tokens": 2, "spans": SPANS}, BY_SPANS),
        ({"text": TEXT, "tags": ["news"], "spans": SPANS}, BY_SPANS),
        (
            {
                "text": TEXT,
                "tokens": PRODIGY,
                "spans": [{**PRODIGY[0], "token_start": 0, "token_end": 0, "label": "PER"}],
            },
            BY_SPANS,
        ),
        ({"text": TEXT, "tokens": WORDS, "tags": TAGS, "spans": None}, BY_WORDS),
        ({"text": None, "tokens": WORDS, "tags": TAGS, "spans": None}, BY_WORDS),
        ({"text": TEXT, "tokens": WORDS, "tags": TAGS, "spans": []}, BY_WORDS),
        ({"tokens": WORDS, "tags": TAGS, "spans": SPANS}, BY_WORDS),
        ({"text": TEXT, "tokens": WORDS, "tags": None, "spans": None}, ("Anna left", None)),
        ({"text": TEXT, "tokens": None, "tags": None, "spans": None}, ("Anna left !", None)),
        ({"text": None, "tokens": None, "tags": None, "spans": None}, ("", None)),
    ],
)
def test_what_is_there_decides(
    row: dict[str, Any], read: tuple[str, str | None], need: bool
) -> None:
    assert picked(row, need) == read


@pytest.mark.parametrize(
    ("row", "read"),
    [
        ({"tokens": WORDS}, "Anna left"),
        ({"text": TEXT}, "Anna left !"),
        ({"text": TEXT, "tokens": WORDS}, "Anna left"),
        ({"text": TEXT, "tokens": PRODIGY}, "Anna left !"),
        ({"text": TEXT, "tags": []}, "Anna left !"),
    ],
)
def test_a_pool_may_have_no_marks(row: dict[str, Any], read: str) -> None:
    assert picked(row) == (read, None)
    with pytest.raises(DataError, match=r"^f(:| has) .*data\.(tags|spans)_column="):
        picked(row if "tags" not in row else {"text": TEXT}, need=True)


def test_with_both_kinds_of_text_and_no_marks_both_are_named() -> None:
    with pytest.raises(
        DataError,
        match=r"^f has neither 'tags' \(of 'tokens'\) nor 'spans' "
        r"\(of 'text'\), but text, tokens, ner. Set data",
    ):
        picked({"text": TEXT, "tokens": WORDS, "ner": TAGS}, need=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"tokens": WORDS, "spans": SPANS},
            r"'spans' marks characters of 'text', which is missing.*data.text_column=",
        ),
        (
            {"text": None, "tokens": WORDS, "spans": SPANS},
            r"'spans' marks characters of 'text', which is missing",
        ),
        (
            {"text": TEXT, "tags": TAGS},
            r"'tags' \(\['B-PER', 'O'\]\) marks words, but 'tokens' has none.*data.words_column=",
        ),
        (
            {"text": TEXT, "tokens": PRODIGY, "tags": TAGS},
            r"'tags' .* marks words, but 'tokens' has none",
        ),
        ({"tokens": [], "tags": ["O"]}, r"'tags' .* marks words, but 'tokens' has none"),
        ({"tokens": WORDS, "tags": []}, r"2 words but 0 tags"),
        ({"text": 5, "spans": []}, r"the text is an integer \(5\), not a string"),
        (
            {"text": None, "spans": SPANS},
            r"the span \[0, 4\) is not a valid range of its text of 0 characters",
        ),
    ],
)
def test_marks_without_what_they_mark_are_errors(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"^f:1: {message}"):
        picked(row)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_the_gold_of_a_pool_with_both_forms_is_kept(tmp_path: Path, suffix: str) -> None:
    train = [
        {
            "text": "Anna left!",
            "tokens": None,
            "tags": None,
            "spans": [{"start": 0, "end": 4, "label": "PER"}],
        },
        {
            "text": "Ulla stayed.",
            "tokens": ["Ulla", "stayed."],
            "tags": None,
            "spans": [{"start": 0, "end": 4, "label": "PER"}],
        },
        {"text": None, "tokens": ["see", "Jan"], "tags": ["O", "B-PER"], "spans": None},
    ]
    rest = {
        name: [
            {
                "text": row["text"],
                "spans": [
                    dict(zip(("start", "end", "label"), span, strict=True)) for span in row["spans"]
                ],
            }
            for row in rows
        ]
        for name, rows in REST.items()
    }
    data = load_files(folder(tmp_path, suffix, train=train, **rest), kind="ner")
    assert [(one.text, data.pool_gold[one.id]) for one in data.pool] == [
        ("Anna left !", '[[0, 1, "PER"]]'),
        ("Ulla stayed .", '[[0, 1, "PER"]]'),
        ("see Jan", '[[1, 2, "PER"]]'),
    ]
    assert data.dropped == {}


@pytest.mark.parametrize("key", ["label", "type"])
def test_spans_may_be_an_object_of_lists(tmp_path: Path, key: str) -> None:
    train = [
        {
            "text": "Anna met Olga",
            "spans": {
                "start": [0, 9],
                "end": [4, 13],
                key: ["PER", "PER"],
                "text": ["Anna", "Olga"],
            },
        },
        {"text": "no one", "spans": {"start": [], "end": [], key: []}},
    ]
    data = load_files(folder(tmp_path, train=train, **REST), kind="ner")
    assert [data.pool_gold[one.id] for one in data.pool] == ['[[0, 1, "PER"], [2, 3, "PER"]]', "[]"]


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        (
            {"start": [0, 5], "end": [4], "label": ["PER"]},
            r"lists in 'spans' differ in length: 2 of 'start', 1 of 'end', 1 of 'label'",
        ),
        ({"start": [0], "end": [4]}, r"\{'start': 0, 'end': 4\} is not a span"),
        ({"start": 0, "end": 4, "label": "PER"}, r"'spans' is a dict"),
        ({}, r"'spans' is a dict \(\{\}\), not a list"),
    ],
)
def test_an_object_of_lists_that_makes_no_spans(spans: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"^f:1: .*{message}"):
        picked({"text": TEXT, "spans": spans})


@pytest.mark.parametrize("kind", ["classification", "ner"])
def test_characters_that_cannot_be_used_are_replaced_and_counted(tmp_path: Path, kind: str) -> None:
    half, clean = "left \ud83d now", "left \ufffd now"
    if kind == "ner":
        train: Any = [
            {"text": f"Anna {half}", "spans": [[0, 4, "PER\ud83d"]]},
            {"tokens": ["Ulla", "\x00"], "tags": ["B-PER\ufffd", "O"]},
            {"text": "no one", "spans": []},
        ]
        rest: Any = [
            [{"text": f"{who} ran", "spans": [[0, 4, "PER\x1b"]]}] for who in ("Olga", "Piet")
        ]
        texts = [f"Anna {clean}", "Ulla \ufffd", "no one"]
        names = ["PER\ufffd"]
    else:
        train = [
            {"text": half, "label": "a"},
            {"text": "come", "label": "b\ud83d"},
            {"text": "go on", "label": "a"},
        ]
        rest = [[{"text": f"one {who}", "label": "b\x1b"}] for who in ("Olga", "Piet")]
        texts, names = [clean, "come", "go on"], ["a", "b\ufffd"]
    data = load_files(folder(tmp_path, train=train, validation=rest[0], test=rest[1]), kind=kind)
    assert [example.text for example in data.pool] == texts
    assert [label.name for label in data.labels] == names
    assert [split.replaced for split in data.splits] == [2, 1, 1]
    assert data.splits[0].line().endswith("; 2 with replaced characters")
    where = tmp_path / "train.jsonl"
    assert data.warnings[0].startswith(
        f"2 of 3 rows of {where} hold half an emoji or control characters, which have been "
        "replaced by U+FFFD (train.jsonl:1: "
    )
    assert ascii(half)[1:-1] in data.warnings[0]
    # Ids, hashes and files hold no surrogate.
    assert data.digest
    "".join(data.warnings).encode()


def test_few_replaced_characters_are_in_the_split_s_line_only() -> None:
    rows = [({"text": f"text {n}" + "\x00" * (n == 7), "label": "a"}) for n in range(200)]
    split = raw_split(
        ["text", "label"],
        ((f"f:{number}", row) for number, row in enumerate(rows)),
        Columns(),
        where="f",
        need_label=True,
    )
    assert (split.replaced, split.warnings) == (1, ())


@given(st.recursive(st.none() | st.integers() | st.text(st.characters()), st.lists))
def test_cells_of_any_shape_become_usable(cell: Any) -> None:
    split = raw_split(
        ["text", "label", "tokens"],
        iter([("f:1", {"text": "a text", "label": "a", "tokens": cell})]),
        Columns(),
        where="f",
        need_label=True,
    )
    assert split.replaced == (unusable_count(str(flat(cell))) > 0)
    "".join(split.warnings).encode()


def flat(cell: Any) -> str:
    return "".join(map(flat, cell)) if isinstance(cell, list) else str(cell)


@pytest.mark.parametrize(
    ("columns", "order"),
    [
        (Columns(classes={"label": (" b", "a ")}), ("b", "a")),
        (Columns("ner", classes={"tags": ("O", "B-ORG", "I-ORG", "B- PER")}), ("ORG", "PER")),
        (Columns("ner", classes={"spans": ("PER", "LOC")}), ("PER", "LOC")),
        (Columns("ner"), ()),
    ],
)
def test_the_order_of_numbered_classes(columns: Columns, order: tuple[str, ...]) -> None:
    row = {"text": "a b", "label": "a", "spans": []}
    split = raw_split(list(row), iter([("f:1", row)]), columns, where="f", need_label=True)
    assert split.class_order == order


PRODIGY_ROWS: list[Any] = [
    {"text": "left out", "label": "b", "answer": "reject"},
    {"text": "play some jazz", "label": "a", "answer": "accept"},
    {"text": "not sure", "label": "a", "answer": "ignore"},
    {"text": "will it rain", "label": "b", "answer": None},
]


def test_rows_rejected_in_prodigy_are_left_out(tmp_path: Path) -> None:
    rest: Any = {
        name: [{"text": f"one {name}", "label": label, "answer": "accept"}]
        for name, label in (("validation", "a"), ("test", "b"))
    }
    data = load_files(folder(tmp_path, train=PRODIGY_ROWS, **rest))
    assert [one.text for one in data.pool] == ["play some jazz", "will it rain"]
    line = data.splits[0].line()
    assert line.startswith("pool  2 of 4 rows")
    assert "left out: 2 rows rejected in Prodigy" in line
    assert data.dropped == {"row rejected in Prodigy in pool": 2}
    assert data.warnings[0] == (
        f"2 of 4 rows of {tmp_path / 'train.jsonl'} are left out, because their 'answer' in "
        "Prodigy is ignore (1) or reject (1), the first in train.jsonl:1."
    )
    train = [{**row, "answer": "reject"} for row in PRODIGY_ROWS]
    with pytest.raises(DataError, match=r"all 4 rows are left out, because their 'answer'"):
        load_files(folder(tmp_path, train=train, **rest))


def test_a_rejected_row_is_not_checked_and_its_spans_do_not_count() -> None:
    rows = [
        {"text": "Anna left", "spans": [[0, 4, "PER"]], "answer": "accept"},
        {"text": "Anna left", "spans": [[0, 400, "PER"]], "answer": "reject"},
    ]
    split = raw_split(
        list(rows[0]),
        iter((f"f:{n}", row) for n, row in enumerate(rows)),
        Columns("ner"),
        where="f",
        need_label=True,
    )
    assert ([row.text for row in split.rows], len(split.rejected)) == (["Anna left"], 1)


@pytest.mark.parametrize("answers", [("yes", "reject"), ("reject", 5), (["reject"], "accept")])
def test_another_answer_column_is_not_prodigy_s(answers: Any) -> None:
    rows = [{"text": "a", "label": "x", "answer": answer} for answer in answers]
    split = raw_split(
        list(rows[0]), iter([("f:1", row) for row in rows]), Columns(), where="f", need_label=True
    )
    assert (len(split.rows), split.warnings) == (2, ())


@pytest.mark.parametrize(
    ("value", "label"),
    [(["music"], "music"), ([], None), ("music", "music"), ([" music "], "music")],
)
def test_a_list_of_one_label_is_the_label(value: Any, label: str | None) -> None:
    row = {"text": "a", "label": value}
    split = raw_split(list(row), iter([("f:1", row)]), Columns(), where="f", need_label=True)
    assert split.rows[0].label == label


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ({"text": "a", "label": ["x", "y"]}, "classification", "f:1: the text has 2 labels"),
        (
            {"text": "a", "label": [[0, 1, "PER"]]},
            "classification",
            "the label is a list .* set task=ner data.spans_column=label",
        ),
        (
            {"text": "a", "label": [[0, 1, "PER"]]},
            "ner",
            "no column 'spans', but a list in 'label'. Set data.spans_column=label",
        ),
        (
            {"text": "a", "refund": "1", "late": "0"},
            "classification",
            "no column 'label', but 0 and 1 in refund, late. If they mark classes, write one",
        ),
        ({"text": "a", "refund": 3, "late": 0}, "classification", "Unknown column 'label'"),
    ],
)
def test_labels_in_another_form_are_explained(row: Any, kind: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        raw_split(list(row), iter([("f:1", row)]), Columns(kind), where="f", need_label=True)


def test_a_text_that_is_no_number_is_empty() -> None:
    row = {"text": float("nan"), "label": "x"}
    split = raw_split(list(row), iter([("f:1", row)]), Columns(), where="f", need_label=True)
    assert split.rows[0].text == ""
