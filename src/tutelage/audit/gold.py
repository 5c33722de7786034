"""Suspects among gold labels: where student and teacher agree on another label, and confidently.

After Nahum et al. 2024 (arXiv 2410.18889), who found label errors in benchmarks where several
language models agree against the label, more of them the more confident the models were. Here the
student is one judge and the teacher the other, where the run has evaluated it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tutelage.records import Outcome
from tutelage.runs.check_records import AuditedSplit, Suspect
from tutelage.tasks.opinions import TeacherOpinion
from tutelage.tasks.protocol import Task


def audit_gold(
    task: Task,
    split: str,
    outcomes: Sequence[Outcome],
    opinions: Mapping[str, TeacherOpinion],
    min_confidence: float,
) -> tuple[list[Suspect], AuditedSplit]:
    """Finds the gold labels that the student, and the teacher where it was asked, contradict.

    An opinion of several teachers is their mean, which is confident only where they agree. A text
    in which the teacher marks no entity has no confidence, so its label is no suspect.

    Args:
        task: The task.
        split: "dev" or "test".
        outcomes: The student's predictions of the split.
        opinions: The teacher's by id; empty if it was not asked.
        min_confidence: Lowest confidence of each judge.

    Returns:
        The suspects, most confident first, and the counts.
    """
    found = []
    for one in outcomes:
        judges = {"student": (one.predicted, one.confidence)}
        if opinions:
            judges["teacher"] = _judgement(task, opinions.get(one.id))
        agree = all(label == one.predicted for label, _ in judges.values())
        least = min(confidence for _, confidence in judges.values())
        if not one.correct and agree and least >= min_confidence:
            sure = " and ".join(f"the {who} ({sure:.2f})" for who, (_, sure) in judges.items())
            found.append(
                Suspect(
                    one.id,
                    one.text,
                    split,
                    one.target,
                    one.predicted,
                    round(min(1.0, least), 6),
                    f"{sure} {'agree against' if opinions else 'contradicts'} the gold label",
                )
            )
    found.sort(key=lambda suspect: -suspect.probability)
    by = ("student", "teacher") if opinions else ("student",)
    return found, AuditedSplit(split, len(outcomes), len(found), 0, 0, by)


def _judgement(task: Task, opinion: TeacherOpinion | None) -> tuple[str, float]:
    """The teacher's label and its confidence; for entities that in the least certain one."""
    if opinion is None or opinion.error or not opinion.probabilities:
        return "", 0.0
    least = min if task.is_token_level else max
    return opinion.predicted, least(opinion.probabilities)
