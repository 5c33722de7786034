"""From written texts to rows: nothing is lost, and every rejection has its reason."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers.classification import (
    LABELS,
    WordTeacher,
    make_text,
    obliging,
    prompt_set,
    scored_text,
)

from tutelage.data.dedup import Deduplicator
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.methods.generation.acceptance import Acceptance, Accepted
from tutelage.methods.generation.specs import Candidate, GenerationSpec, Shown
from tutelage.methods.generation.writer import Writer
from tutelage.records import Row
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.teacher.base import Reply, Request, Sampling

ANIMAL, TOOL, FOOD = LABELS
WRITER = Writer(prompt_set(), Sampling())


def written(
    text: str, label: Any = TOOL, reason: str = "", failed: bool = False, draw: int = 0, **spec: Any
) -> Candidate:
    return Candidate(
        GenerationSpec(label, spec.pop("kind", "hard"), (Shown("shown"),), ("p1",), **spec),
        text,
        reason,
        failed,
        draw,
    )


def acceptance(
    teacher: WordTeacher,
    separated: bool = True,
    held: tuple[tuple[str, str], ...] = (),
    **acceptance: Any,
) -> Acceptance:
    duplicates = Deduplicator(0.9)
    for text, kind in held:
        duplicates.add(text, kind)
    labeller = TextLabeller(teacher, LABELS, prompt_set(), (), NoCalibration())
    return Acceptance(labeller if separated else None, LabelAgreement(**acceptance), duplicates)


def apply(
    teacher: WordTeacher, texts: list[Candidate], **settings: Any
) -> tuple[Accepted, list[int]]:
    phases: list[int] = []
    return acceptance(teacher, **settings).apply(texts, WRITER, 2, phases.append), phases


def by_text(rows: tuple[Row, ...]) -> dict[str, str]:
    return {row.text: row.reason for row in rows}


def test_a_good_text_becomes_a_row() -> None:
    text = written(make_text("Tool", 1), style="polite", confused_with=ANIMAL, draw=5)
    (row,) = apply(WordTeacher(obliging), [text])[0].rows
    assert (
        row.target,
        row.asked,
        row.source,
        row.round,
        row.accepted,
        row.reason,
        row.parents,
    ) == (
        "Tool",
        "Tool",
        "hard",
        2,
        True,
        "",
        ("p1",),
    )
    assert row.distribution is not None
    assert row.distribution.top == "Tool"
    assert row.detail == {
        "prompt": prompt_set().version("hard"),
        "style": "polite",
        "confused_with": "Animal",
    }


def test_rejections_keep_text_and_reason() -> None:
    cases = [
        (written(make_text("Tool", 1)), ""),
        (written(make_text("Animal", 2)), "scored label is not the one asked for"),
        (written(make_text("Tool", 1)), "exact duplicate of pool"),
        (written(make_text("Tool", 1).upper()), "normalised duplicate of pool"),
        (written(make_text("Tool", 1) + " x"), "near duplicate of pool"),
        (written(make_text("Food", 3)), "exact duplicate of test"),
        (written(make_text("Food", 4)), "exact duplicate of dev"),
        (written("two words", reason="under 3 words"), "under 3 words"),
        (written("", reason="request failed: lost", failed=True), "request failed: lost"),
    ]
    texts = [
        Candidate(one.spec, one.text, one.reason, one.failed, n) for n, (one, _) in enumerate(cases)
    ]
    held = ((make_text("Food", 3), "test"), (make_text("Food", 4), "dev"))
    accepted_rows, phases = apply(WordTeacher(obliging), texts, held=held)
    assert [row.reason for row in accepted_rows.rows] == [reason for _, reason in cases]
    assert [row.text for row in accepted_rows.rows] == [one.text for one in texts]
    assert [row.accepted for row in accepted_rows.rows] == [not reason for _, reason in cases]
    assert len({row.id for row in accepted_rows.rows}) == len(cases)
    assert phases == [2]  # only the two that could still be accepted were scored
    assert (accepted_rows.asked, accepted_rows.failed, accepted_rows.rejected) == (
        len(cases) + 2,
        1,
        7,
    )


def test_a_failed_scoring_is_a_failure_and_no_rejection() -> None:
    def script(request: Request) -> Any:
        return (
            Reply(request.id, error="too long")
            if scored_text(request.prompt) == make_text("Tool", 2)
            else obliging(request)
        )

    accepted_rows, _ = apply(
        WordTeacher(script), [written(make_text("Tool", n), draw=n) for n in (1, 2, 3)]
    )
    assert by_text(accepted_rows.rows)[make_text("Tool", 2)] == "labelling failed: too long"
    assert (accepted_rows.asked, accepted_rows.failed, accepted_rows.rejected) == (6, 1, 0)
    assert [row.accepted for row in accepted_rows.rows] == [True, False, True]


def test_without_separation_nothing_is_scored_and_the_asked_label_is_believed() -> None:
    teacher = WordTeacher(obliging)
    accepted_rows, phases = apply(
        teacher,
        [written(make_text("Animal", 1)), written(make_text("Animal", 1), draw=1)],
        separated=False,
    )
    assert teacher.asked == []
    assert phases == []
    assert [(row.target, row.accepted, row.distribution) for row in accepted_rows.rows] == [
        ("Tool", True, None),
        ("Tool", False, None),
    ]
    assert (accepted_rows.asked, accepted_rows.failed, accepted_rows.rejected) == (2, 0, 1)


def test_the_scored_label_becomes_the_target_without_agreement() -> None:
    accepted_rows, _ = apply(
        WordTeacher(obliging), [written(make_text("Animal", 1))], agreement=False
    )
    assert [(row.asked, row.target, row.accepted) for row in accepted_rows.rows] == [
        ("Tool", "Animal", True)
    ]


def test_nothing_written_asks_nothing() -> None:
    teacher = WordTeacher(obliging)
    accepted_rows, phases = apply(teacher, [])
    assert (accepted_rows, phases, teacher.asked) == (Accepted((), 0, 0, 0), [], [])


@pytest.mark.parametrize("separated", [True, False])
def test_a_rejected_label_still_counts_as_a_text_that_is_there(separated: bool) -> None:
    subject = acceptance(WordTeacher(obliging), separated)
    for round in (1, 2):
        rows = subject.apply(
            [written(make_text("Animal", 1))], WRITER, round, lambda count: None
        ).rows
    assert rows[0].reason == "exact duplicate of pool"
