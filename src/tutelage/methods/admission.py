"""From written texts to rows: duplicates out, labels by a query of their own, then the selector's verdict."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.methods.proposals import with_proposals
from tutelage.methods.protocol import Ground
from tutelage.methods.repeats import Duplicates
from tutelage.methods.writing import Writer, Written
from tutelage.records import Growth, Row, record_id
from tutelage.selectors.acceptance import Judge, Verdict
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import write_spans
from tutelage.teacher.labelling import Labeller, Opinion


@dataclass(frozen=True, slots=True)
class Admitted:
    """The rows of one batch of texts, with the counts of contract 1: asked = answered + failed."""

    rows: tuple[Row, ...]
    asked: int
    failed: int
    rejected: int


class Admission:
    """Decides about each written text, and keeps the rejected ones with their reason.

    Args:
        labeller: labels each text by a query of its own (EvoKD's separation). None: the label asked for is believed.
    """

    def __init__(self, labeller: Labeller | None, acceptance: Judge, duplicates: Duplicates) -> None:
        self._labeller = labeller
        self._acceptance = acceptance
        self._duplicates = duplicates

    def admit(
        self,
        written: Sequence[Written],
        writer: Writer,
        round: int,
        on_scoring: Callable[[int], None],
        on_reply: Callable[[Any], None] | None = None,
        ground: Ground | None = None,
    ) -> Admitted:
        """Rows in the texts' order. Only texts that could still be accepted are scored, so that no token is wasted.

        Args:
            ground: where the student can be asked; None asks the teacher alone.
        """
        faults = [text.reason or self._repeat(text.text) for text in written]
        open_places = [place for place, fault in enumerate(faults) if not fault]
        opinions: dict[int, Opinion] = {}
        errors: dict[int, str] = {}
        asked = lost = 0
        if self._labeller is not None and open_places:
            drafts = [written[place].draft for place in open_places]
            if ground is not None:
                drafts = with_proposals(drafts, self._labeller, ground, round)
            on_scoring(len(self._labeller.requests(drafts)))
            labelled = self._labeller.label(drafts, on_reply)
            opinions = {place: one for place, one in zip(open_places, labelled.opinions, strict=True) if one is not None}
            errors = {open_places[number]: error for number, error in labelled.errors.items()}
            asked, lost = labelled.asked, labelled.failed
        # A selector ranks a class's texts among themselves, so it would keep the best of those whose words are a name after all.
        names = {place for place, one in opinions.items() if written[place].brief.no_name and one.distribution.top != OUTSIDE}
        open_to_judge = [place for place in opinions if place not in names]
        verdicts = self._acceptance.judge_batch(
            [written[place].brief.asked for place in open_to_judge], [opinions[place].distribution for place in open_to_judge]
        )
        judged = dict(zip(open_to_judge, verdicts, strict=True))
        rows = []
        for place, (text, fault) in enumerate(zip(written, faults, strict=True)):
            taken = f"{text.brief.no_name!r} is a name, says the labelling query" if place in names else ""
            reason = fault or taken or (f"labelling failed: {errors[place]}" if place in errors else "")
            verdict = judged.get(place) or Verdict(text.brief.asked, not reason, reason)
            rows.append(self._row(text, verdict, opinions.get(place), writer, round))
        failed = sum(text.failed for text in written)
        return Admitted(
            rows=tuple(rows),
            asked=sum(not text.free for text in written) + asked,
            failed=failed + lost,
            rejected=sum(not row.accepted for row in rows) - failed - len(errors),
        )

    def grow(
        self,
        ground: Ground,
        written: Sequence[Written],
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
        admitted = self.admit(written, writer, round, lambda count: ground.on_phase("labelling", count), ground.on_reply, ground)
        requests, lost = asked + admitted.asked, failed + admitted.failed
        return Growth(
            round=round,
            rows=admitted.rows,
            analysis=analysis,
            quota=dict(Counter(f"{text.brief.label.name}/{text.brief.kind}" for text in written)),
            seconds={**seconds, "labelling": time.perf_counter() - began},
            asked=requests,
            answered=requests - lost,
            rejected=admitted.rejected,
            failed=lost,
        )

    def _repeat(self, text: str) -> str:
        found = self._duplicates.check(text)
        if found is None:
            self._duplicates.add(text, "pool")
            return ""
        return f"{found.kind} duplicate of {found.against}"

    def _row(self, text: Written, verdict: Verdict, opinion: Opinion | None, writer: Writer, round: int) -> Row:
        brief = text.brief
        detail = dict(brief.detail) if text.free else {"prompt": writer.version(brief), **dict(brief.detail)}
        if brief.style:
            detail["style"] = brief.style
        if brief.confused_with is not None:
            detail["confused_with"] = brief.confused_with.name
        if brief.no_name:
            detail["no_name"] = brief.no_name
        return Row(
            id=record_id("row", round, brief.kind, text.draw, text.text),
            text=text.text,
            target=opinion.target(verdict.target) if opinion else write_spans(text.entities) if brief.mentions else verdict.target,
            source=brief.kind,
            round=round,
            accepted=verdict.accepted,
            reason=verdict.reason,
            distribution=opinion.distribution if opinion else None,
            asked=brief.label.name,
            parents=brief.parents,
            weight=verdict.weight,
            detail=detail,
            entity_confidence=opinion.entity_confidence(verdict.target) if opinion else (),
        )
