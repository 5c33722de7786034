"""Labels the texts of one chunk, each different text once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tutelage.errors import BudgetExhausted, NoAnswer
from tutelage.label.heap import HeapText
from tutelage.label.shards import Tally
from tutelage.labelling.base import Draft, Labelled, Labeller, Opinion
from tutelage.methods.base import RequestFailure
from tutelage.records import record_id
from tutelage.tasks.protocol import Task
from tutelage.tasks.spans import read_spans, to_tags
from tutelage.teacher.base import OnReply
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.wrappers.budget import BudgetedTeacher

BLANK = "the text is empty"
"""Why a text without a visible character has no label."""
SHORTENED = "shortened in the prompt"
"""What the reason of a labelled text says whose middle the teacher did not see."""
_ENOUGH = 8
"""With fewer texts, all of them may be at fault; with more, it is the teacher or a setting."""


class ChunkLabeller:
    """Labels chunks of texts.

    Args:
        task: The task.
        labeller: The labeller, with a calibration that no longer changes.
        prompts: Its prompts, which count the texts that they cut.
        budget: The outermost layer of the teacher.
    """

    def __init__(
        self, task: Task, labeller: Labeller, prompts: PromptSet, budget: BudgetedTeacher
    ) -> None:
        self._task = task
        self._labeller = labeller
        self._prompts = prompts
        self._budget = budget

    def label(
        self, texts: Sequence[HeapText], on_reply: OnReply | None = None
    ) -> tuple[list[dict[str, Any]], Tally]:
        """Labels a chunk.

        Args:
            texts: The texts.
            on_reply: Called with each reply.

        Returns:
            One record per text, in order, and their counts.

        Raises:
            BudgetExhausted: The chunk would pass the limit of tokens. Nothing was asked.
            NoAnswer: None of 8 or more different texts was answered.
            TeacherError: The engine failed. Its replies so far are in the cache.
        """
        # The ids of cut texts would grow with the heap.
        self._prompts.cut.clear()
        drafts = distinct_drafts(texts)
        check_budget(self._budget, self._labeller, drafts)
        before = self._budget.usage
        labelled = self._labelled(drafts, on_reply)
        after = self._budget.usage
        found: dict[str, tuple[Opinion | None, str]] = {}
        for index, (draft, opinion) in enumerate(zip(drafts, labelled.opinions, strict=True)):
            reason = SHORTENED if record_id(draft.text) in self._prompts.cut else ""
            if opinion is None:
                reason = RequestFailure.LABELLING.reason(labelled.errors[index])
            found[draft.text] = opinion, reason
        records = [self._record(one, *found.get(one.text, (None, BLANK))) for one in texts]
        tally = replace(
            tally_of(records),
            prompt_tokens=after.billed_prompt - before.billed_prompt,
            completion_tokens=after.billed_completion - before.billed_completion,
        )
        return records, tally

    def _labelled(self, drafts: Sequence[Draft], on_reply: OnReply | None) -> Labelled:
        if not drafts:
            return Labelled((), {}, 0, 0)
        try:
            return self._labeller.label(drafts, on_reply)
        except NoAnswer as error:
            if len(drafts) >= _ENOUGH:
                raise
            errors = dict.fromkeys(range(len(drafts)), str(error))
            return Labelled((None,) * len(drafts), errors, len(drafts), len(drafts))

    def _record(self, text: HeapText, opinion: Opinion | None, reason: str) -> dict[str, Any]:
        distribution = None if opinion is None else opinion.distribution
        record: dict[str, Any] = {
            "row": text.row,
            "file": text.file,
            "probabilities": distribution and list(distribution.probabilities),
            "reason": reason,
        }
        if not self._task.is_token_level:
            return {
                **record,
                "text": text.text,
                "label": distribution and distribution.top,
                "confidence": distribution and distribution.confidence,
            }
        words = text.text.split(" ") if text.text else []
        if opinion is None or distribution is None:
            return {**record, "tokens": words, "tags": None, "entities": None, "confidence": None}
        spans = read_spans(opinion.target(distribution.top))
        sure = opinion.entity_confidence(distribution.top)
        return {
            **record,
            "tokens": words,
            "tags": to_tags(spans, len(words)),
            "entities": [
                {**span._asdict(), "confidence": value}
                for span, value in zip(spans, sure, strict=True)
            ],
            "confidence": min(sure, default=distribution.confidence),
        }


def distinct_drafts(texts: Sequence[HeapText]) -> list[Draft]:
    """Returns a draft of each different text that is not blank, in order."""
    return [Draft(text) for text in dict.fromkeys(one.text for one in texts) if text.strip()]


def check_budget(budget: BudgetedTeacher, labeller: Labeller, drafts: Sequence[Draft]) -> None:
    """Refuses a batch that would pass the limit of tokens.

    Raises:
        BudgetExhausted: It would.
    """
    if budget.left is None or not drafts:
        return
    # At least the prompts and one token per reply.
    prompts = [request.prompt for request in labeller.requests(drafts)]
    cost = sum(len(ids) + 1 for ids in budget.tokenize(prompts))
    if cost > budget.left:
        raise BudgetExhausted(
            f"the next {len(drafts):,} texts take about {cost:,} tokens and {budget.left:,} are "
            "left"
        )


def tally_of(records: Sequence[dict[str, Any]]) -> Tally:
    """Counts records."""
    labelled = [one for one in records if one["probabilities"] is not None]
    lost = [one["reason"] for one in records if one["probabilities"] is None]
    return Tally(
        texts=len(records),
        labelled=len(labelled),
        failed=len(lost),
        shortened=sum(one["reason"] == SHORTENED for one in labelled),
        classes=dict(sorted(Counter(_classes(labelled)).items())),
        # What an engine says may name a text.
        reasons=dict(sorted(Counter(reason.partition(":")[0] for reason in lost).items())),
    )


def _classes(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    for one in records:
        if "label" in one:
            yield one["label"]
        else:
            yield from (entity["type"] for entity in one["entities"])
