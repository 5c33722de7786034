"""Shared by the benchmarks: scores of the teacher alone on the first dev texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tutelage.config.build import (
    build,
    build_dataset,
    build_labeller,
    build_stack,
    build_task,
)
from tutelage.config.compose import compose_config
from tutelage.labelling.base import Draft
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.records import Outcome


class TeacherScore(NamedTuple):
    """Scores of the teacher alone.

    Attributes:
        score: The task's first metric (accuracy, or strict entity F1); a rejected text counts as
            one without entities.
        of_kept: The same over the texts that were not rejected.
        tokens: Billed tokens.
        reasons: Why texts were rejected, one reason per text.
        texts: Number of texts.
    """

    score: float
    of_kept: float
    tokens: int
    reasons: tuple[str, ...]
    texts: int


def teacher_alone(overrides: Sequence[str], texts: int, folder: Path) -> TeacherScore:
    """Lets the teacher label the first dev texts, with the shots as demonstrations.

    Args:
        overrides: As on the command line.
        texts: Number of dev texts; the calibration sees all of dev.
        folder: Folder for the teacher's transcript.
    """
    config = compose_config(overrides)
    dataset = build_dataset(config)
    task = build_task(config, dataset)
    stack = build_stack(config, folder)
    try:
        shots = ordered_demonstrations(dataset.shots(config.shots, config.seed), config.seed)
        prompts = build(config.prompt, "prompt")
        labeller = build_labeller(config, prompts, task, stack.teacher, shots)
        labeller.fit(dataset.dev)
        dev = dataset.dev[:texts]
        labelled = labeller.label([Draft(example.text) for example in dev])
        outcomes = [
            Outcome(
                example.id,
                example.text,
                example.label or "[]",
                opinion.target(opinion.distribution.top) if opinion else "[]",
                (1.0,),
                "dev",
                0,
            )
            for example, opinion in zip(dev, labelled.opinions, strict=True)
        ]
        kept = [outcome for index, outcome in enumerate(outcomes) if index not in labelled.errors]
        metric = task.headline_metrics[0].key
        score, of_kept = (
            float(task.metrics(some)[metric]) if some else 0.0 for some in (outcomes, kept)
        )
        billed = stack.budget.usage.billed
        return TeacherScore(score, of_kept, billed, tuple(labelled.errors.values()), len(dev))
    finally:
        stack.close()
