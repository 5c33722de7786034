"""What a review says: counts by part, and scores on the random control."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tutelage.records import Outcome, Row
from tutelage.report.intervals import entity_f1_interval, wilson_interval
from tutelage.review.sample import PARTS
from tutelage.review.votes import Decision
from tutelage.runs.check_records import Review, ReviewedPart, ReviewedScore, SampledRow
from tutelage.tasks.protocol import Task


def summary(
    task: Task,
    sample: Mapping[str, SampledRow],
    rows: Mapping[str, Row],
    decisions: Mapping[str, Decision],
    name: str,
    content: bytes,
    gold: bytes,
) -> Review:
    """Counts what people decided, and scores teacher and student by it.

    Args:
        task: The run's task.
        sample: The sample, by row id.
        rows: The pool, by row id.
        decisions: What the annotators of each exported row decided.
        name: Name of the imported file.
        content: Its bytes.
        gold: The bytes of review/gold.jsonl.
    """
    labelled = {id: one for id, one in decisions.items() if one.target is not None}
    several = [one for one in decisions.values() if one.votes > 1]
    parts = []
    for part in PARTS:
        own = [sample[id] for id in labelled if sample[id].part == part]
        parts.append(
            ReviewedPart(
                part,
                sum(one.part == part for one in sample.values()),
                len(own),
                sum(one.teacher == labelled[one.id].target for one in own),
                sum(one.student == labelled[one.id].target for one in own),
            )
        )
    skipped = sum(one.skipped for one in decisions.values())
    undecided = sum(one.votes > 0 and one.target is None for one in decisions.values())
    return Review(
        file=name,
        sha256=hashlib.sha256(content).hexdigest(),
        gold_sha256=hashlib.sha256(gold).hexdigest(),
        gold=len(labelled),
        skipped=skipped,
        open=len(sample) - len(labelled) - skipped - undecided,
        undecided=undecided,
        several=len(several),
        agreed=sum(one.agreeing == one.votes for one in several),
        annotators=len({who for one in decisions.values() for who in one.annotators}),
        widened=sum(one.widened for one in decisions.values()),
        parts=tuple(parts),
        scores=tuple(_scores(task, sample, rows, labelled)),
    )


def _scores(
    task: Task,
    sample: Mapping[str, SampledRow],
    rows: Mapping[str, Row],
    labelled: Mapping[str, Decision],
) -> list[ReviewedScore]:
    """Teacher and student on the control, the one part that is like the pool."""
    titles = {metric.key: metric.title for metric in task.headline_metrics}
    control = [sample[id] for id in labelled if sample[id].part == "control"]
    scores = []
    for who in ("teacher", "student") if control else ():
        outcomes = [
            Outcome(
                one.id,
                rows[one.id].text,
                str(labelled[one.id].target),
                getattr(one, who),
                (1.0,),
                "control",
                0,
            )
            for one in control
        ]
        found = task.metrics(outcomes)
        # Of whole texts, then of entities.
        ends = wilson_interval(found["accuracy"], len(outcomes))
        scores.append(ReviewedScore(who, titles["accuracy"], found["accuracy"], *ends))
        if task.is_token_level:
            ends = entity_f1_interval(outcomes)
            scores.append(ReviewedScore(who, titles[task.monitor], found[task.monitor], *ends))
    return scores
