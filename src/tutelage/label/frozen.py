"""The calibration of a stream: fitted once on its first texts, written down, and never changed.

A running calibration would make the label of a text depend on the chunk that it is in and on the
kills before it. This one is read from its file before the first chunk, in every process alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import BudgetExhausted, ConfigError, RunError
from tutelage.label.heap import HeapText
from tutelage.label.shards import Tally
from tutelage.label.stream import check_budget, distinct_drafts
from tutelage.labelling.base import Labeller
from tutelage.records import Example
from tutelage.teacher.base import OnReply
from tutelage.teacher.wrappers.budget import BudgetedTeacher

NAME = "calibration.json"
"""Name of the file in the folder."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted calibration.

    Attributes:
        name: Name of the calibration.
        texts: Number of different texts that it was fitted on.
        gold: Number of gold labels that it used besides the shots.
        cost: Billed tokens of what was asked to fit it, beside the texts themselves.
    """

    name: str
    texts: int
    gold: int
    cost: Tally


def fit_calibration(
    path: Path,
    labeller: Labeller,
    first: Sequence[HeapText],
    dev: Sequence[Example],
    budget: BudgetedTeacher,
    on_reply: OnReply | None = None,
) -> int:
    """Fits the calibration of a labeller, and writes it down.

    The teacher labels the first texts here and again in their chunks, where the cache has the
    replies. They are billed there, and not here.

    Args:
        path: The file.
        labeller: The labeller.
        first: The first texts of the heap.
        dev: Labelled dev examples, for a calibration by them.
        budget: The outermost layer of the teacher.
        on_reply: Called with each reply.

    Returns:
        The number of requests about the texts that failed, which the calibration is fitted without.

    Raises:
        ConfigError: The budget does not cover it, or no text gives a request.
        TeacherError: The engine failed, or answered none of the texts.
    """
    before = budget.usage
    try:
        gold = labeller.fit(dev, on_reply)
        drafts = distinct_drafts(first)
        check_budget(budget, labeller, drafts)
    except BudgetExhausted as error:
        raise ConfigError(
            f"budget.tokens={budget.limit} is spent before the first label: {error}. Raise it, or "
            "fit the calibration on fewer texts (--calibrate-on)."
        ) from None
    after = budget.state_dict()
    cost = Tally(
        prompt_tokens=budget.usage.billed_prompt - before.billed_prompt,
        completion_tokens=budget.usage.billed_completion - before.billed_completion,
    )
    labelled = labeller.label(drafts, on_reply) if drafts else None
    if labelled is not None and labelled.asked == 0:
        try:
            labeller.calibrator.freeze()
        except ConfigError:
            raise ConfigError(
                f"calibration={labeller.calibrator.name} cannot be fitted on the first "
                f"{len(drafts):,} texts: nothing in them could be a name. Give a larger "
                "--calibrate-on; or, where names are written in small letters or in a script "
                "without capitals, labelling.candidates=[chunks] (or [ngrams])."
            ) from None
    budget.load_state_dict(after)
    record = {
        "calibration": labeller.calibrator.name,
        "texts": len(drafts),
        "gold": gold,
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "state": labeller.calibrator.state_dict(),
    }
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(record), encoding="utf-8")
    part.replace(path)
    return 0 if labelled is None else labelled.failed


def load_calibration(path: Path, labeller: Labeller) -> Fitted:
    """Gives a labeller the calibration that was written down, and freezes it.

    Raises:
        RunError: The file is damaged.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        labeller.calibrator.load_state_dict(record["state"])
        fitted = Fitted(
            record["calibration"],
            int(record["texts"]),
            int(record["gold"]),
            Tally(
                prompt_tokens=int(record["prompt_tokens"]),
                completion_tokens=int(record["completion_tokens"]),
            ),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({error}), so its labels cannot be continued. Give another folder "
            "with --to; the replies so far are in the teacher's cache."
        ) from None
    if fitted.texts:
        labeller.calibrator.freeze()
    return fitted
