"""The numbers at the head of a report: test scores of students and teacher, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tutelage.errors import RunError
from tutelage.records import ClassScore, Outcome
from tutelage.report.majority_class import majority_metrics
from tutelage.report.panels import panel_of
from tutelage.report.teacher_alone import teacher_metrics, teacher_outcomes
from tutelage.runs.read import Run
from tutelage.runs.records import Scores, scores_of


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """One line of the summary table.

    Attributes:
        name: Whose scores these are.
        scores: Scores on test; None if the run has not measured them.
        count: Number of test texts behind them; 0 if unknown.
        interval: 95 % interval of the first headline metric, in [0, 1]; None if it cannot be
            computed.
        failed: Number of these texts that the teacher could not label; they count as wrong.
        further: The task's further metrics by key, as far as they are known.
    """

    name: str
    scores: Scores | None
    count: int = 0
    interval: tuple[float, float] | None = None
    failed: int = 0
    further: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClassLine:
    """A class before and after growth, on the same test examples.

    Attributes:
        label: Name of the class.
        support: Number of test examples of the class (for NER, of its entities).
        before: Its score before growth.
        after: Its score at the end.
    """

    label: str
    support: int
    before: ClassScore | None
    after: ClassScore | None


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """Errors of one kind on test.

    Attributes:
        kind: Kind of error.
        before: Their number before growth; None if not measured.
        after: Their number at the end; None if not measured.
    """

    kind: str
    before: int | None
    after: int | None


def outcome_scores(run: Run, outcomes: Sequence[Outcome]) -> Scores:
    """Return the task's metrics over at least one outcome."""
    return scores_of(run.task.metrics(outcomes))


def reference_scores(run: Run) -> tuple[SummaryLine, SummaryLine, SummaryLine]:
    """Return the references of a learning curve: before, supervised ceiling, teacher alone."""
    return (
        SummaryLine(
            "before", _recorded(run, "before") or (run.metrics[0].test if run.metrics else None)
        ),
        SummaryLine("supervised ceiling", _recorded(run, "supervised")),
        SummaryLine("teacher alone", _recorded(run, "teacher") or _teacher(run, raw=False)),
    )


def summary_lines(run: Run) -> tuple[SummaryLine, ...]:
    """Build the lines of the summary table.

    They are the student before and after, the supervised ceiling, the teacher raw and calibrated,
    and the majority class; lines not measured are left out. Without rounds of growth there is a
    single student. Numbers come from result.json; before it is written, from the predictions or
    from the latest round.
    """
    last = run.metrics[-1] if run.metrics else None
    before, ceiling, teacher = reference_scores(run)
    # While a run is in progress, its latest round stands in for the student after.
    after = _recorded(run, "after") or (outcome_scores(run, run.after) if run.after else None)
    raw = _raw_teacher(run)
    lines = [
        _line(
            run,
            "student before",
            before.scores or (outcome_scores(run, run.before) if run.before else None),
            run.before,
        ),
        _line(run, "student after" if run.grew else "student", after, run.after)
        if after or not last
        else _line(run, f"student so far (round {last.round})", last.test),
        _line(run, "supervised ceiling", ceiling.scores, run.supervised),
        _teacher_line(run, "teacher alone, raw", raw, raw=True),
        _teacher_line(
            run, "teacher alone, calibrated" if raw else "teacher alone", teacher.scores, raw=False
        ),
        SummaryLine("majority class", _majority(run), _test_count(run)),
    ]
    return tuple(line for line in (lines if run.grew else lines[1:]) if line.scores)


def class_lines(run: Run) -> tuple[ClassLine, ...]:
    """Return every class before and after, lowest final F1 first; empty without class scores."""
    first, last = _before_after(run)
    before, after = first.per_class if first else {}, last.per_class if last else {}
    lines = []
    for label in run.labels:
        # Classes without a score are not shown.
        known = after.get(label) or before.get(label)
        if known:
            lines.append(ClassLine(label, known.support, before.get(label), after.get(label)))
    return tuple(
        sorted(lines, key=lambda line: (line.after or line.before or ClassScore(0, 0, 0, 0)).f1)
    )


def error_lines(run: Run) -> tuple[ErrorLine, ...]:
    """Return errors by kind before and after; empty if they have no kinds or were not counted."""
    first, last = _before_after(run)
    if first is None:
        return ()
    return tuple(
        ErrorLine(kind, first.errors.get(kind, 0), last.errors.get(kind, 0) if last else None)
        for kind in run.task.error_kinds
    )


def _before_after(run: Run) -> tuple[Scores | None, Scores | None]:
    """Return detailed test scores at the start and at the end.

    They come from the predictions, or from the rounds as long as there are none.
    """
    measured = [line.test for line in run.metrics if line.test and line.test.per_class]
    before = outcome_scores(run, run.before) if run.before else measured[0] if measured else None
    return before, outcome_scores(run, run.after) if run.after else measured[-1] if len(
        measured
    ) > 1 else None


def changed_outcomes(run: Run) -> tuple[int, int, int] | None:
    """Compare the test predictions before and after growth.

    Returns:
        Number of examples predicted both times, of those newly correct, and of those newly wrong;
        None without both predictions.
    """
    # Match the examples by id: the two files may differ in their order.
    before = {outcome.id: outcome.correct for outcome in run.before}
    pairs = [(before[outcome.id], outcome.correct) for outcome in run.after if outcome.id in before]
    return (len(pairs), pairs.count((False, True)), pairs.count((True, False))) if pairs else None


def _test_count(run: Run) -> int:
    if run.after or run.before:
        return len(run.after or run.before)
    # Without predictions, count the texts behind a measured round, or else trust the manifest.
    measured = next((line.test for line in run.metrics if line.test), None)
    if measured is None:
        return len(run.teacher)
    counted = panel_of(run.task).text_count(measured)
    return int((run.manifest.get("data") or {}).get("test") or 0) if counted is None else counted


def _line(
    run: Run, name: str, scores: Scores | None, outcomes: Sequence[Outcome] = ()
) -> SummaryLine:
    count = len(outcomes) or _test_count(run)
    if scores is None or count < 1:
        return SummaryLine(name, scores)
    score = scores.value(run.headline_metrics[0].key)
    interval = panel_of(run.task).interval(score, count, outcomes) if math.isfinite(score) else None
    # Older results lack the further metrics, which then come from the outcomes.
    keys = [metric.key for metric in run.task.further_metrics]
    lacks = outcomes and any(key not in scores.values for key in keys)
    known = outcome_scores(run, outcomes) if lacks else scores
    further = {key: known.values[key] for key in keys if key in known.values}
    return SummaryLine(name, scores, count, interval, further=further)


def _teacher_line(run: Run, name: str, scores: Scores | None, *, raw: bool) -> SummaryLine:
    line = _line(run, name, scores, teacher_outcomes(run.task, run.teacher, raw=raw))
    # Texts that the teacher could not label are shown separately.
    failed = sum(bool(opinion.error) for opinion in run.teacher)
    unwritten = int((run.result.get("teacher") or {}).get("failed") or 0) - failed
    if panel_of(run.task).resampled and run.teacher and unwritten > 0:
        # Older folders lack lines for failed texts, although the score includes them: an interval
        # over the other texts would belong to a different number.
        return replace(line, count=line.count + unwritten, interval=None, failed=failed + unwritten)
    return replace(line, failed=failed)


def _recorded(run: Run, name: str) -> Scores | None:
    found: dict[str, Any] | None = run.result.get(name)
    first, second = run.headline_metrics
    if not found or found.get(first.key) is None:
        return None
    value = found[first.key]
    if not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise RunError(
            f'{run.folder / "result.json"}: the {first.title} of "{name}" is {value!r}, '
            "not in [0, 1]. Run again to replace it."
        )
    values = {first.key: float(value)}
    for key in (second.key, *(metric.key for metric in run.task.further_metrics)):
        if isinstance(other := found.get(key), int | float) and abs(other) <= 1:
            values[key] = float(other)
    return Scores(values)


def _teacher(run: Run, raw: bool) -> Scores | None:
    if not run.teacher or (raw and not run.task.records_raw_opinions):
        return None
    return scores_of(teacher_metrics(run.task, run.teacher, raw=raw))


def _majority(run: Run) -> Scores | None:
    """Return the scores of the most frequent class; folders of older versions lack them."""
    found = majority_metrics(run.task, [outcome.target for outcome in run.after or run.before])
    return _recorded(run, "majority") or (scores_of(found) if found else None)


def _raw_teacher(run: Run) -> Scores | None:
    # The recorded value takes precedence over the one computed from the predictions.
    computed = _teacher(run, raw=True)
    found = run.result.get("teacher") or {}
    # Folders written before NER existed call it "raw_accuracy".
    written = found.get("raw", found.get("raw_accuracy"))
    return (
        computed
        if written is None
        else Scores(
            {**(computed.values if computed else {}), run.headline_metrics[0].key: float(written)}
        )
    )
