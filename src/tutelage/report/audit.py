"""The label audit in the report: counts by class, and the suspects of each split."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.report.markings import Piece, cut, tints
from tutelage.report.panels import panel_of
from tutelage.runs.check_records import Audit, AuditedSplit, Suspect
from tutelage.runs.read import Run

MOST_SHOWN = 100
"""Maximal number of suspects of a split in the page; audit.jsonl has all."""
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class SuspectLine:
    """A suspect as the page shows it.

    Attributes:
        suspect: The suspect.
        label: For NER, the text with the marks of its label; for classes the label alone.
        suggested: The same for the suggested label.
        text: The text; empty for NER, where the marks show it.
    """

    suspect: Suspect
    label: tuple[Piece, ...]
    suggested: tuple[Piece, ...]
    text: str


@dataclass(frozen=True, slots=True)
class AuditSection:
    """The section of the page.

    Attributes:
        audit: The counts.
        has_gold: Whether a gold label of the pool is known.
        splits: Each split with a sentence about it and its first suspects.
        tints: Colour of every type that a suspect is marked with.
    """

    audit: Audit
    has_gold: bool
    splits: tuple[tuple[AuditedSplit, str, tuple[SuspectLine, ...]], ...]
    tints: dict[str, int]


def audit_section(run: Run) -> AuditSection | None:
    """Return the section; None without an audit."""
    if run.audit is None:
        return None
    splits = tuple(
        (
            split,
            split_line(split),
            tuple(
                _line(run, one)
                for one in [one for one in run.suspects if one.split == split.split][:MOST_SHOWN]
            ),
        )
        for split in run.audit.splits
    )
    pieces = [
        piece
        for _, _, lines in splits
        for line in lines
        for piece in (*line.label, *line.suggested)
    ]
    return AuditSection(
        run.audit,
        any(one.known for one in run.audit.classes),
        splits,
        tints(run.labels, {piece.type for piece in pieces if piece.type}),
    )


def split_line(split: AuditedSplit) -> str:
    """Return a sentence about the suspects of a split."""
    texts = f"{split.texts:,} texts"
    suspects = f"{split.suspects:,} suspect{'' if split.suspects == 1 else 's'}"
    if split.split == "pool":
        right = f"; {split.wrong:,} of {split.known:,} are wrong by gold" if split.known else ""
        return f"{suspects} among the labels of {texts}{right}"
    sure = "student and teacher agree on" if "teacher" in split.by else "the student is sure of"
    return f"{suspects} among the gold labels of {texts}, where {sure} another label"


def _line(run: Run, suspect: Suspect) -> SuspectLine:
    panel = panel_of(run.task)
    if not panel.marked:
        text = suspect.text[:_LONGEST] + ("…" if len(suspect.text) > _LONGEST else "")
        return SuspectLine(suspect, (Piece(suspect.label),), (Piece(suspect.suggested),), text)
    label, suggested = (
        cut(panel.pieces(suspect.text, target), _LONGEST)
        for target in (suspect.label, suspect.suggested)
    )
    return SuspectLine(suspect, label, suggested, "")
