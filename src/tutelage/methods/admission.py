"""From written texts to rows: duplicates out, labels by a query of their own, then the selector's verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.data.dedup import Deduplicator
from tutelage.methods.writing import Writer, Written
from tutelage.records import LabelDistribution, Row, record_id
from tutelage.selectors.acceptance import Judge, Verdict
from tutelage.teacher.scoring import LabelScorer


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
        separated: label each text by scoring (EvoKD's separation). Without it the label asked for is believed.
    """

    def __init__(self, scorer: LabelScorer, acceptance: Judge, duplicates: Deduplicator, separated: bool) -> None:
        self._scorer = scorer
        self._acceptance = acceptance
        self._duplicates = duplicates
        self._separated = separated

    def admit(
        self,
        written: Sequence[Written],
        writer: Writer,
        round: int,
        on_scoring: Callable[[int], None],
        on_reply: Callable[[Any], None] | None = None,
    ) -> Admitted:
        """Rows in the texts' order. Only texts that could still be accepted are scored, so that no token is wasted."""
        faults = [text.reason or self._repeat(text.text) for text in written]
        open_places = [place for place, fault in enumerate(faults) if not fault]
        labelled: dict[int, LabelDistribution | None] = {}
        errors: dict[int, str] = {}
        if self._separated and open_places:
            on_scoring(len(open_places))
            scored = self._scorer.score([written[place].text for place in open_places], on_reply)
            labelled = dict(zip(open_places, scored.distributions, strict=True))
            errors = {open_places[number]: error for number, error in scored.errors.items()}
        certain = [(place, distribution) for place, distribution in labelled.items() if distribution is not None]
        verdicts = self._acceptance.judge_batch(
            [written[place].brief.label.name for place, _ in certain], [distribution for _, distribution in certain]
        )
        judged = {place: verdict for (place, _), verdict in zip(certain, verdicts, strict=True)}
        rows = []
        for place, (text, fault) in enumerate(zip(written, faults, strict=True)):
            reason = fault or (f"labelling failed: {errors[place]}" if place in errors else "")
            verdict = judged.get(place) or Verdict(text.brief.label.name, not reason, reason)
            rows.append(self._row(text, verdict, labelled.get(place), writer, round))
        failed = sum(text.failed for text in written) + len(errors)
        return Admitted(
            rows=tuple(rows),
            asked=len(written) + len(labelled),
            failed=failed,
            rejected=sum(not row.accepted for row in rows) - failed,
        )

    def _repeat(self, text: str) -> str:
        found = self._duplicates.check(text)
        if found is None:
            self._duplicates.add(text, "pool")
            return ""
        return f"{found.kind} duplicate of {found.against}"

    def _row(self, text: Written, verdict: Verdict, distribution: LabelDistribution | None, writer: Writer, round: int) -> Row:
        brief = text.brief
        detail = {"prompt": writer.version(brief)}
        if brief.style:
            detail["style"] = brief.style
        if brief.confused_with is not None:
            detail["confused_with"] = brief.confused_with.name
        return Row(
            id=record_id("row", round, brief.kind, text.draw, text.text),
            text=text.text,
            target=verdict.target,
            source=brief.kind,
            round=round,
            accepted=verdict.accepted,
            reason=verdict.reason,
            distribution=distribution,
            asked=brief.label.name,
            parents=brief.parents,
            weight=verdict.weight,
            detail=detail,
        )
