"""From candidates to rows: duplicate check, labelling by separate queries, accept selector."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tutelage.labelling.base import Draft, Labeller, Opinion
from tutelage.methods.base import Cost, MethodContext, RequestFailure
from tutelage.methods.generation.artefacts import ARTEFACTS
from tutelage.methods.generation.duplicates import Duplicates
from tutelage.methods.generation.specs import Candidate
from tutelage.methods.generation.writer import Writer
from tutelage.records import Growth, Row, record_id
from tutelage.selectors.acceptance import AcceptSelector, Decision
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import write_spans

_LIKELY = 4
"""The student's most probable classes that are proposed for a text."""


def with_proposals(
    drafts: Sequence[Draft], labeller: Labeller, context: MethodContext, round: int
) -> list[Draft]:
    """Adds the student's own predictions to drafts, if the labeller uses them.

    For NER, ``labelling=verify`` then asks the teacher about the student's spans too (the setting
    ``labelling.candidates`` includes the student). For classes, the shortlist of a text then has
    the student's most probable ones. In round 0 the drafts stay unchanged: an untrained student
    sees names everywhere.

    Args:
        drafts: Texts to label.
        labeller: The labeller that will label them.
        context: Gives access to the student.
        round: The current round.

    Returns:
        The drafts, in order.
    """
    # Asking the student costs a pass over the texts, so only if it matters.
    if not (drafts and round and labeller.asks_student):
        return list(drafts)
    context.on_phase("proposals", 0)
    view = context.view_pool([draft.text for draft in drafts], ())
    if labeller.is_token_level:
        return [
            replace(draft, proposed=indices)
            for draft, indices in zip(drafts, view.proposed(), strict=True)
        ]
    names = [label.name for label in context.task.labels]
    order = np.argsort(-view.probabilities(), axis=1, kind="stable")[:, :_LIKELY]
    return [
        replace(draft, likely=tuple(names[index] for index in own))
        for draft, own in zip(drafts, order, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The rows of one batch of candidates, with request counts.

    Attributes:
        rows: One row per candidate, accepted and rejected ones alike.
        asked: Requests for texts and labels: answered and failed ones.
        failed: Failed requests among them.
        rejected: Answered texts that did not become accepted rows.
    """

    rows: tuple[Row, ...]
    asked: int
    failed: int
    rejected: int


class Acceptance:
    """Decides about each candidate; rejected ones are kept as rows with a reason.

    Args:
        labeller: Labels each text by a query of its own (EvoKD's separation). None trusts the
            requested label.
        accept_selector: Decides about the labelled texts.
        duplicates: The texts a candidate must not repeat; grows with each new text.
    """

    def __init__(
        self, labeller: Labeller | None, accept_selector: AcceptSelector, duplicates: Duplicates
    ) -> None:
        self._labeller = labeller
        self._accept_selector = accept_selector
        self._duplicates = duplicates

    def apply(
        self,
        candidates: Sequence[Candidate],
        writer: Writer,
        round: int,
        on_scoring: Callable[[int], None],
        on_reply: Callable[[Any], None] | None = None,
        context: MethodContext | None = None,
    ) -> Accepted:
        """Turns candidates into rows.

        Only texts that can still be accepted are labelled, so no token is wasted.

        Args:
            candidates: The candidates.
            writer: The writer of the candidates, for the hashes of their prompts.
            round: The round of the rows.
            on_scoring: Called with the number of labelling requests before they are sent.
            on_reply: Called with each reply as it arrives.
            context: Gives access to the student; None labels without its proposals.

        Returns:
            The rows in the order of the candidates, with request counts.
        """
        # Reject unusable texts and duplicates before they cost anything.
        faults = [one.reason or self._repeat(one.text) for one in candidates]
        open_indices = [index for index, fault in enumerate(faults) if not fault]

        # Label the others.
        opinions: dict[int, Opinion] = {}
        errors: dict[int, str] = {}
        asked = lost = 0
        if self._labeller is not None and open_indices:
            drafts = [candidates[index].draft for index in open_indices]
            if context is not None:
                drafts = with_proposals(drafts, self._labeller, context, round)
            on_scoring(len(self._labeller.requests(drafts)))
            labelled = self._labeller.label(drafts, on_reply)
            opinions = {
                index: opinion
                for index, opinion in zip(open_indices, labelled.opinions, strict=True)
                if opinion is not None
            }
            errors = {open_indices[number]: error for number, error in labelled.errors.items()}
            asked, lost = labelled.asked, labelled.failed

        # A text around words that are no name is out once the teacher calls them one. This comes
        # before the selector: it ranks the texts of a class, and would keep the best of these.
        names = {
            index
            for index, opinion in opinions.items()
            if candidates[index].spec.no_name and opinion.distribution.top != OUTSIDE
        }

        # Let the accept selector decide about the rest, as one batch.
        undecided = [index for index in opinions if index not in names]
        decided = self._accept_selector.decide_batch(
            [candidates[index].spec.asked for index in undecided],
            [opinions[index].distribution for index in undecided],
            self._confirmed(
                [(candidates[index].text, opinions[index]) for index in undecided], round, context
            ),
        )
        decisions = dict(zip(undecided, decided, strict=True))

        # Write one row per candidate, with the first reason against it. Without a labeller, the
        # requested label stands.
        rows = []
        for index, (candidate, fault) in enumerate(zip(candidates, faults, strict=True)):
            reason = fault
            if not reason and index in names:
                reason = f"{candidate.spec.no_name!r} is a name, says the labelling query"
            if not reason and index in errors:
                reason = RequestFailure.LABELLING.reason(errors[index])
            decision = decisions.get(index) or Decision(candidate.spec.asked, not reason, reason)
            rows.append(self._row(candidate, decision, opinions.get(index), writer, round))

        unwritten = sum(candidate.failed for candidate in candidates)
        # One request may be made for several texts.
        own = [candidate for candidate in candidates if not (candidate.free or candidate.shared)]
        return Accepted(
            rows=tuple(rows),
            asked=len(own) + asked,
            failed=sum(candidate.failed for candidate in own) + lost,
            rejected=sum(not row.accepted for row in rows) - unwritten - len(errors),
        )

    def _confirmed(
        self, labelled: Sequence[tuple[str, Opinion]], round: int, context: MethodContext | None
    ) -> list[bool] | None:
        """Whether the student predicts each text's label; None if the selector does not ask.

        In round 0 there is no trained student to ask.
        """
        if not (self._accept_selector.asks_student and context is not None and round and labelled):
            return None
        rows = [
            Row(str(place), text, opinion.target(opinion.distribution.top), "hard", round, False)
            for place, (text, opinion) in enumerate(labelled)
        ]
        found = {one.id: one.correct for one in context.predict(rows)}
        return [found[row.id] for row in rows]

    def grow(
        self,
        context: MethodContext,
        candidates: Sequence[Candidate],
        writer: Writer,
        round: int,
        cost: Cost,
        *,
        analysis: str = "",
        prompt: str = "",
    ) -> Growth:
        """Turns candidates into the growth of a round.

        Args:
            context: The parts of the run.
            candidates: The candidates.
            writer: The writer of the candidates.
            round: The round.
            cost: Cost of the round so far, without the requests for the candidates themselves.
            analysis: The teacher's analysis of the student's mistakes; "" for none.
            prompt: The prompt of the analysis; "" for none.

        Returns:
            The rows, with the counts and durations of the whole round.
        """
        began = time.perf_counter()
        accepted = self.apply(
            candidates,
            writer,
            round,
            lambda count: context.on_phase("labelling", count),
            context.on_reply,
            context,
        )
        # Sum up the round.
        seconds = {"labelling": time.perf_counter() - began}
        total = cost + Cost(accepted.asked, accepted.failed, seconds)
        return Growth(
            round=round,
            rows=accepted.rows,
            analysis=analysis,
            prompt=prompt,
            quota=dict(Counter(f"{one.spec.label.name}/{one.spec.kind}" for one in candidates)),
            seconds=dict(total.seconds),
            asked=total.asked,
            answered=total.asked - total.failed,
            rejected=accepted.rejected,
            failed=total.failed,
        )

    def _repeat(self, text: str) -> str:
        found = self._duplicates.check(text)
        # Remember each new text at once, so a later one of the same round cannot repeat it.
        if found is None:
            self._duplicates.add(text, "pool")
            return ""
        return f"{found.kind} duplicate of {found.against}"

    def _row(
        self,
        candidate: Candidate,
        decision: Decision,
        opinion: Opinion | None,
        writer: Writer,
        round: int,
    ) -> Row:
        spec = candidate.spec
        # Background for the report.
        detail = (
            dict(spec.detail)
            if candidate.free
            else {"prompt": writer.version(spec), **dict(spec.detail)}
        )
        if spec.style:
            detail["style"] = spec.style
        if spec.confused_with is not None:
            detail["confused_with"] = spec.confused_with.name
        if spec.no_name:
            detail["no_name"] = spec.no_name
        if candidate.artefacts:
            detail[ARTEFACTS] = ", ".join(candidate.artefacts)
        # The target under the accepted label; without an opinion, as requested.
        if opinion:
            target = opinion.target(decision.target)
        else:
            target = write_spans(candidate.entities) if spec.mentions else decision.target
        return Row(
            id=record_id("row", round, spec.kind, candidate.draw, candidate.text),
            text=candidate.text,
            target=target,
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
