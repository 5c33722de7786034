"""FOLD: methods.generation.acceptance."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.labelling.base import Draft, Labeller, Opinion
from tutelage.methods.base import MethodContext
from tutelage.methods.generation.duplicates import Duplicates
from tutelage.methods.generation.writer import Candidate, Writer
from tutelage.records import Growth, Row, record_id
from tutelage.selectors.acceptance import AcceptSelector, Decision
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import write_spans


# FOLD: What the student says of texts before the teacher labels them: for NER the places that *verify* then asks about too.
def with_proposals(
    drafts: Sequence[Draft], labeller: Labeller, context: MethodContext, round: int
) -> list[Draft]:
    """The drafts with what the student proposes of each, where the labeller has a use for it (labelling.candidates names student).

    In round 0 they stay as they are: a student that has learnt nothing sees names anywhere.
    """
    if not (drafts and round and labeller.asks_student):
        return list(drafts)
    context.on_phase("proposals", 0)
    proposed = context.view_pool([draft.text for draft in drafts], ()).proposed()
    return [
        replace(draft, proposed=indices) for draft, indices in zip(drafts, proposed, strict=True)
    ]


# FOLD: From written texts to rows: duplicates out, labels by a query of their own, then the selector's verdict.
@dataclass(frozen=True, slots=True)
class Accepted:
    """The rows of one batch of texts, with the counts of contract 1: asked = answered + failed."""

    rows: tuple[Row, ...]
    asked: int
    failed: int
    rejected: int


class Acceptance:
    """Decides about each written text, and keeps the rejected ones with their reason.

    Args:
        labeller: labels each text by a query of its own (EvoKD's separation). None: the label asked for is believed.
    """

    def __init__(
        self, labeller: Labeller | None, accept_selector: AcceptSelector, duplicates: Duplicates
    ) -> None:
        self._labeller = labeller
        self._accept_selector = accept_selector
        self._duplicates = duplicates

    def apply(
        self,
        written: Sequence[Candidate],
        writer: Writer,
        round: int,
        on_scoring: Callable[[int], None],
        on_reply: Callable[[Any], None] | None = None,
        context: MethodContext | None = None,
    ) -> Accepted:
        """Rows in the texts' order. Only texts that could still be accepted are scored, so that no token is wasted.

        Args:
            ground: where the student can be asked; None asks the teacher alone.
        """
        faults = [text.reason or self._repeat(text.text) for text in written]
        open_indices = [index for index, fault in enumerate(faults) if not fault]
        opinions: dict[int, Opinion] = {}
        errors: dict[int, str] = {}
        asked = lost = 0
        if self._labeller is not None and open_indices:
            drafts = [written[index].draft for index in open_indices]
            if context is not None:
                drafts = with_proposals(drafts, self._labeller, context, round)
            on_scoring(len(self._labeller.requests(drafts)))
            labelled = self._labeller.label(drafts, on_reply)
            opinions = {
                index: one
                for index, one in zip(open_indices, labelled.opinions, strict=True)
                if one is not None
            }
            errors = {open_indices[number]: error for number, error in labelled.errors.items()}
            asked, lost = labelled.asked, labelled.failed
        # A selector ranks a class's texts among themselves, so it would keep the best of those whose words are a name after all.
        names = {
            index
            for index, one in opinions.items()
            if written[index].spec.no_name and one.distribution.top != OUTSIDE
        }
        open_to_judge = [index for index in opinions if index not in names]
        decisions = self._accept_selector.decide_batch(
            [written[index].spec.asked for index in open_to_judge],
            [opinions[index].distribution for index in open_to_judge],
        )
        judged = dict(zip(open_to_judge, decisions, strict=True))
        rows = []
        for index, (text, fault) in enumerate(zip(written, faults, strict=True)):
            taken = (
                f"{text.spec.no_name!r} is a name, says the labelling query"
                if index in names
                else ""
            )
            reason = (
                fault or taken or (f"labelling failed: {errors[index]}" if index in errors else "")
            )
            decision = judged.get(index) or Decision(text.spec.asked, not reason, reason)
            rows.append(self._row(text, decision, opinions.get(index), writer, round))
        failed = sum(text.failed for text in written)
        return Accepted(
            rows=tuple(rows),
            asked=sum(not text.free for text in written) + asked,
            failed=failed + lost,
            rejected=sum(not row.accepted for row in rows) - failed - len(errors),
        )

    def grow(
        self,
        context: MethodContext,
        written: Sequence[Candidate],
        writer: Writer,
        round: int,
        seconds: dict[str, float],
        *,
        asked: int = 0,
        failed: int = 0,
        analysis: str = "",
    ) -> Growth:
        """The texts' rows as what a method gives back.

        Args:
            seconds, asked, failed: of the round so far.
        """
        began = time.perf_counter()
        accepted_rows = self.apply(
            written,
            writer,
            round,
            lambda count: context.on_phase("labelling", count),
            context.on_reply,
            context,
        )
        requests, lost = asked + accepted_rows.asked, failed + accepted_rows.failed
        return Growth(
            round=round,
            rows=accepted_rows.rows,
            analysis=analysis,
            quota=dict(Counter(f"{text.spec.label.name}/{text.spec.kind}" for text in written)),
            seconds={**seconds, "labelling": time.perf_counter() - began},
            asked=requests,
            answered=requests - lost,
            rejected=accepted_rows.rejected,
            failed=lost,
        )

    def _repeat(self, text: str) -> str:
        found = self._duplicates.check(text)
        if found is None:
            self._duplicates.add(text, "pool")
            return ""
        return f"{found.kind} duplicate of {found.against}"

    def _row(
        self,
        text: Candidate,
        decision: Decision,
        opinion: Opinion | None,
        writer: Writer,
        round: int,
    ) -> Row:
        spec = text.spec
        detail = (
            dict(spec.detail)
            if text.free
            else {"prompt": writer.version(spec), **dict(spec.detail)}
        )
        if spec.style:
            detail["style"] = spec.style
        if spec.confused_with is not None:
            detail["confused_with"] = spec.confused_with.name
        if spec.no_name:
            detail["no_name"] = spec.no_name
        return Row(
            id=record_id("row", round, spec.kind, text.draw, text.text),
            text=text.text,
            target=opinion.target(decision.target)
            if opinion
            else write_spans(text.entities)
            if spec.mentions
            else decision.target,
            source=spec.kind,
            round=round,
            accepted=decision.accepted,
            reason=decision.reason,
            distribution=opinion.distribution if opinion else None,
            asked=spec.label.name,
            parents=spec.parents,
            weight=decision.weight,
            detail=detail,
            entity_confidence=opinion.entity_confidence(decision.target) if opinion else (),
        )
