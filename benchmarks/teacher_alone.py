"""Shared by the benchmarks: scores of the teacher alone on the first dev texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tutelage.config.build import build, build_dataset, build_task
from tutelage.config.build_labeller import build_labeller
from tutelage.config.build_teacher import build_prompts, build_stack
from tutelage.config.compose import compose_config
from tutelage.labelling.base import Draft
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.calibration_prior import Array
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.records import Outcome
from tutelage.teacher.stack import Stack


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


class KeepScores(NoCalibration):
    """No calibration; keeps the log-probabilities of all batches in ``seen``."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Array] = []

    def transform(self, logprobs: Array, asked: Array | None = None) -> Array:
        """Keeps and normalises them."""
        self.seen.append(logprobs)
        return super().transform(logprobs, asked)


def scores_of_pool(
    overrides: Sequence[str], texts: int, stack: Stack
) -> tuple[tuple[str, ...], Array, list[str]]:
    """Lets a teacher score the first pool texts, with the shots as demonstrations.

    Args:
        overrides: As on the command line, without a calibration.
        texts: Number of pool texts.
        stack: The teacher; one serves many data sets.

    Returns:
        The labels' names, their log-probabilities, [texts, labels], and the gold label per text.
    """
    target = f"calibration._target_={KeepScores.__module__}.{KeepScores.__name__}"
    away = ["method=full_pool", "calibration=none", target, "~calibration.prior"]
    config = compose_config([*overrides, *away, "~calibration.asked"])
    dataset = build_dataset(config)
    task = build_task(config, dataset)
    shots = dataset.shots(config.shots, config.seed)
    labeller = build_labeller(
        config,
        build_prompts(config, stack.engine, stack.teacher),
        task,
        stack.teacher,
        ordered_demonstrations(shots, config.seed),
    )
    shown = {shot.text for shot in shots}
    pool = [example for example in dataset.pool if example.text not in shown][:texts]
    labelled = labeller.label([Draft(example.text) for example in pool])
    assert not labelled.errors
    assert isinstance(labeller.calibrator, KeepScores)
    names = tuple(label.name for label in task.labels)
    gold = [dataset.pool_gold[example.id] for example in pool]
    return names, np.concatenate(labeller.calibrator.seen), gold
