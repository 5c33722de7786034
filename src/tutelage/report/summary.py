"""The numbers at the head of a report: who reached what on test, and with which uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.errors import RunError
from tutelage.records import ClassScore, Outcome
from tutelage.report.runs import Run, Scores


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """One line of the summary table.

    Attributes:
        scores: on test; None where the run has not measured it.
        count: test examples behind the accuracy, 0 when unknown.
        low, high: Wilson 95 % interval of the accuracy in [0, 1]; both 0 when ``count`` is 0.
    """

    name: str
    scores: Scores | None
    count: int = 0
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True, slots=True)
class ClassLine:
    """A class before and after, on the same test examples."""

    label: str
    support: int
    before: ClassScore | None
    after: ClassScore | None


def wilson_interval(accuracy: float, count: int) -> tuple[float, float]:
    """Wilson 95 % interval of a share ``accuracy`` of ``count`` independent examples, both ends in [0, 1].

    Raises:
        ValueError: ``count`` is below 1 or ``accuracy`` is outside [0, 1].
    """
    from scipy.stats import binomtest

    if count < 1 or not 0.0 <= accuracy <= 1.0:
        raise ValueError(f"accuracy {accuracy} of {count} examples has no interval; give a share in [0, 1] and at least one example.")
    interval = binomtest(round(accuracy * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def outcome_scores(outcomes: Sequence[Outcome], labels: Sequence[str]) -> Scores:
    """Accuracy, macro-F1 and class scores of at least one outcome over ``labels``."""
    from sklearn.metrics import precision_recall_fscore_support

    targets, predicted = [outcome.target for outcome in outcomes], [outcome.predicted for outcome in outcomes]
    columns = precision_recall_fscore_support(targets, predicted, labels=list(labels), zero_division=0.0)
    per_class = {
        label: ClassScore(float(precision), float(recall), float(f1), int(support))
        for label, precision, recall, f1, support in zip(labels, *columns, strict=True)
    }
    macro = sum(score.f1 for score in per_class.values()) / len(per_class)
    return Scores(sum(outcome.correct for outcome in outcomes) / len(outcomes), macro, per_class)


def reference_scores(run: Run) -> tuple[SummaryLine, SummaryLine, SummaryLine]:
    """What a learning curve is read against: before, supervised ceiling, teacher alone."""
    return (
        SummaryLine("before", _quoted(run, "before") or (run.metrics[0].test if run.metrics else None)),
        SummaryLine("supervised ceiling", _quoted(run, "supervised")),
        SummaryLine("teacher alone", _quoted(run, "teacher") or _teacher(run, raw=False)),
    )


def summary_lines(run: Run) -> tuple[SummaryLine, ...]:
    """Student before and after, supervised ceiling, teacher raw and calibrated; those not measured are left out.

    The numbers are result.json's; before it is written, those of the predictions or of the latest round.
    """
    count = _test_count(run)
    last = run.metrics[-1] if run.metrics else None
    before, ceiling, teacher = reference_scores(run)
    after = _quoted(run, "after") or (outcome_scores(run.after, run.labels) if run.after else None)
    lines = [
        _line("student before", before.scores or (outcome_scores(run.before, run.labels) if run.before else None), count),
        _line("student after", after, count) if after or not last else _line(f"student so far (round {last.round})", last.test, count),
        _line("supervised ceiling", ceiling.scores, count),
        _line("teacher alone, raw", _raw_teacher(run), len(run.teacher) or count),
        _line("teacher alone, calibrated", teacher.scores, len(run.teacher) or count),
    ]
    return tuple(line for line in lines if line.scores)


def class_lines(run: Run) -> tuple[ClassLine, ...]:
    """Every class before and after, worst after first; empty before there are class scores."""
    measured = [line.test for line in run.metrics if line.test and line.test.per_class]
    before = outcome_scores(run.before, run.labels).per_class if run.before else measured[0].per_class if measured else {}
    after = outcome_scores(run.after, run.labels).per_class if run.after else measured[-1].per_class if len(measured) > 1 else {}
    lines = []
    for label in run.labels:
        known = after.get(label) or before.get(label)
        if known:
            lines.append(ClassLine(label, known.support, before.get(label), after.get(label)))
    return tuple(sorted(lines, key=lambda line: (line.after or line.before or ClassScore(0, 0, 0, 0)).f1))


def changed_outcomes(run: Run) -> tuple[int, int, int] | None:
    """Of the test examples predicted before and after: how many there are, newly right, newly wrong. None without both."""
    before = {outcome.id: outcome.correct for outcome in run.before}
    pairs = [(before[outcome.id], outcome.correct) for outcome in run.after if outcome.id in before]
    return (len(pairs), pairs.count((False, True)), pairs.count((True, False))) if pairs else None


def _test_count(run: Run) -> int:
    if run.after or run.before:
        return len(run.after or run.before)
    measured = next((line.test for line in run.metrics if line.test), None)
    return sum(score.support for score in measured.per_class.values()) if measured else len(run.teacher)


def _line(name: str, scores: Scores | None, count: int) -> SummaryLine:
    if scores is None or count < 1:
        return SummaryLine(name, scores)
    return SummaryLine(name, scores, count, *wilson_interval(scores.accuracy, count))


def _quoted(run: Run, name: str) -> Scores | None:
    found: dict[str, Any] | None = run.result.get(name)
    if not found or found.get("accuracy") is None:
        return None
    if not isinstance(found["accuracy"], int | float) or not 0.0 <= found["accuracy"] <= 1.0:
        raise RunError(
            f'{run.folder / "result.json"}: the accuracy of "{name}" is {found["accuracy"]!r}, not in [0, 1]. Run again to write it anew.'
        )
    return Scores(float(found["accuracy"]), float("nan") if found.get("macro_f1") is None else float(found["macro_f1"]))


def _teacher(run: Run, raw: bool) -> Scores | None:
    if not run.teacher:
        return None
    outcomes = []
    for opinion in run.teacher:
        given = opinion.raw if raw else opinion.probabilities
        outcomes.append(Outcome(opinion.id, "", opinion.target, run.labels[given.index(max(given))], given, "test", 0))
    return outcome_scores(outcomes, run.labels)


def _raw_teacher(run: Run) -> Scores | None:
    computed = _teacher(run, raw=True)
    quoted = (run.result.get("teacher") or {}).get("raw_accuracy")
    if quoted is None:
        return computed
    return Scores(float(quoted), computed.macro_f1 if computed else float("nan"))
