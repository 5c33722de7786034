"""EvoKD's settings, as conf/method/evokd.yaml gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tutelage.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True)
class EvoKDSettings:
    """EvoKD's switches; each ablation changes exactly one (conf/ablation).

    Attributes:
        rounds: at most so many; a token budget or a plateau may end it sooner.
        n_hard, n_easy: texts asked for in a round.
        n_wrong, n_correct: outcomes shown in the analysis.
        n_init: texts made from the shots in the first rows (+Init); 0 for none.
        init: how they are made: "paraphrase" (AugGPT-style), or for NER "llm_da" (:mod:`tutelage.methods.generation.augmentation`). None: "llm_da" for
            NER, "paraphrase" for other tasks.
        n_first: texts in the first rows that are written before there is a student to aim at, evenly shared by the classes; 0 for none.
        demonstrations: texts of the class shown before a new one.
        analysis: ask for an analysis and put it into the hard prompts.
        feedback: aim at the student at all. Without it this is static generation: even quotas, demonstrations from the shots.
        separated: label by a query of its own.
        confident_wrong, class_report: PGKD's additions to the analysis; off in the paper's setting.
        scores_from: whose F1 by class shares out a round and stands in the report: that of the "fresh" rows, or of the "dev" set, whose
            labels then count as used.
        mistake_margin: by how much the teacher must be surer of its label than of the student's for a mistake to count.
        focus: share of a round that goes to classes in proportion to their weakness.
        styles: attribute grid, name → values; one cell a text.
        near_duplicate: similarity from which a text counts as a repeat.
        near_own: the same against the run's own texts for the first rows with +Init by LLM-DA, whose variants are meant to be near to their
            sentence.
        invented_names: for NER, share of texts that are written around a new name.
        names_a_text: for NER, the most names that a text is written around; each number from 1 is as likely.

    Raises:
        ConfigError: ``init`` or ``scores_from`` is unknown, ``n_first`` is negative, ``names_a_text`` is below 1, or there are rounds with
            nothing to write in them.
    """

    rounds: int
    n_hard: int
    n_easy: int
    n_wrong: int
    n_correct: int
    n_init: int
    init: Literal["paraphrase", "llm_da"] | None
    n_first: int
    demonstrations: int
    analysis: bool
    feedback: bool
    separated: bool
    confident_wrong: bool
    class_report: bool
    scores_from: Literal["fresh", "dev"]
    mistake_margin: float
    focus: float
    styles: dict[str, list[str]] | None
    near_duplicate: float
    near_own: float
    invented_names: float
    names_a_text: int

    def __post_init__(self) -> None:
        """Check what would show late."""
        if self.init not in (None, "paraphrase", "llm_da"):
            raise ConfigError(did_you_mean("method.init", self.init, ("paraphrase", "llm_da")))
        if self.scores_from not in ("fresh", "dev"):
            raise ConfigError(
                did_you_mean("method.scores_from", self.scores_from, ("fresh", "dev"))
            )
        if self.n_first < 0:
            raise ConfigError(f"method.n_first={self.n_first} must be 0 or more.")
        if self.names_a_text < 1:
            raise ConfigError(f"method.names_a_text={self.names_a_text} must be 1 or more.")
        if self.n_hard + self.n_easy <= 0 and self.rounds > 0:
            raise ConfigError(
                "method.n_hard and method.n_easy are both 0, so a round would ask for nothing. Set one of them, or method=shots."
            )
