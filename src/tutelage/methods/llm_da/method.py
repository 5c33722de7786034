"""LLM-DA: augmentation for NER by an LLM, of contexts and of entities.

After Ye et al. 2024 (arXiv 2402.14568), reconstructed. A round makes variants of the gold sentences
(:mod:`tutelage.methods.generation.augmentation`). Nothing depends on the student, and a resumed run
needs only the pool.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from math import ceil as round_up
from time import perf_counter

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft, NewLabeller
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.methods.base import (
    ESTIMATED,
    Cost,
    MethodContext,
    TeacherMethod,
    gold_rows,
)
from tutelage.methods.generation.acceptance import Acceptance
from tutelage.methods.generation.augmentation import REPLACED, REWRITTEN, Augmentation, Turn
from tutelage.methods.generation.duplicates import Repeats
from tutelage.methods.generation.entity_names import NameBook, Picker
from tutelage.methods.generation.lengths import examples_of
from tutelage.methods.generation.specs import Candidate
from tutelage.methods.generation.writer import Writer
from tutelage.methods.llm_da.settings import LLMDASettings
from tutelage.records import Feedback, Growth, derive_seed, evenly
from tutelage.selectors.acceptance import AcceptSelector
from tutelage.teacher.base import Request
from tutelage.teacher.prompts import PromptSet


class LLMDA(TeacherMethod):
    """LLM-DA for NER.

    Texts keep the entities of their gold sentence; with ``method.separated`` they are labelled by
    queries of their own, and only then there is a calibrator.

    Args:
        settings: The settings of the method.
        prompts: The prompt templates.
        accept_selector: Decides about the labelled texts.
        new_labeller: Builds the labeller over the shots.
    """

    settings_type = LLMDASettings

    def __init__(
        self,
        settings: LLMDASettings,
        prompts: PromptSet,
        accept_selector: AcceptSelector,
        new_labeller: NewLabeller,
    ) -> None:
        super().__init__(settings.name, prompts, new_labeller)
        self._settings = settings
        self._accept_selector = accept_selector
        self._writer = Writer(
            prompts,
            settings.sampling,
            settings.min_words,
            settings.max_words,
            settings.max_tokens,
            settings.texts_per_request,
        )

    @property
    def rounds(self) -> int:
        """Maximum number of rounds."""
        return self._settings.rounds

    @property
    def asks_teacher(self) -> bool:
        """False if no mode needs the teacher: noise alone, or names of the shots alone."""
        # Labels, invented names and rewritings need a teacher.
        inventing = self._settings.invented_names > 0 and any(
            mode in REPLACED for mode in self._settings.modes
        )
        return (
            self._settings.separated
            or inventing
            or any(mode in REWRITTEN for mode in self._settings.modes)
        )

    def setup(self, context: MethodContext) -> None:
        """Builds the augmentation of the shots, the names and the duplicate check.

        Args:
            context: The parts of the run.

        Raises:
            ConfigError: The task has no entities, or shots, teacher or a template are missing.
        """
        # Check the task, the shots, the teacher and the prompts.
        if not context.task.is_token_level:
            raise ConfigError(
                "method=llm_da keeps the entities of sentences, and this task has none. Give "
                "task=ner, or take method=evokd."
            )
        if not context.shots:
            raise ConfigError(
                "method=llm_da varies labelled shots, and shots=0 gives none. Give shots=1 or more."
            )
        if context.teacher is None and self.asks_teacher:
            raise ConfigError(
                "method=llm_da needs a teacher for its modes. Configure one, or take "
                "method.modes=[noise]."
            )
        settings = self._settings
        if any(mode in REWRITTEN for mode in settings.modes):
            self._prompts.require("rewrite")
        # Build the parts of the method.
        self._context = context
        self._writer.fit(context.teacher, examples_of(context))
        self._augmentation = Augmentation(
            context,
            "easy",
            settings.n_texts,
            settings.modes,
            self._prompts.strategies,
            settings.invented_names,
            settings.noise_words,
        )
        self._book = NameBook(
            context.task.labels,
            context.shots,
            self._prompts,
            settings.invented_names,
            per_request=settings.texts_per_request,
        )
        if settings.separated and context.teacher is not None:
            self._labeller = self._new_labeller(
                context.task, context.teacher, ordered_demonstrations(context.shots, context.seed)
            )
        repeats = Repeats(context, settings.near_duplicate, settings.near_own)
        self._acceptance = Acceptance(self._labeller, self._accept_selector, repeats)

    def first_rows(self) -> Growth:
        """Returns the shots."""
        self._calibrate()
        return Growth(round=0, rows=tuple(gold_rows(self._context.shots)))

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """Returns empty feedback: nothing depends on the student."""
        return Feedback(feedback.round, (), {})

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Returns the variants of a round: those by the teacher first, then all others.

        Args:
            feedback: Not used.
            round: The new round, from 1.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        # Plan the round, with new names from the teacher.
        context, rng = self._context, self._rng(round)
        turns = self._augmentation.turns(round, context.pool.rows, rng)
        names, cost = self._round_names(turns, round)
        specs, finished = self._augmentation.drafts(turns, names, rng)

        # Let the teacher rewrite sentences.
        written: list[Candidate] = []
        if specs and context.teacher is not None:
            began = perf_counter()
            context.on_phase("generation", len(self._writer.batches(specs)))
            written = self._writer.write(
                context.teacher,
                specs,
                context.seed,
                round,
                context.on_reply,
                context.task.labels,
            )
            cost += Cost(seconds={"generation": perf_counter() - began})

        return self._acceptance.grow(context, [*written, *finished], self._writer, round, cost)

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Returns real requests of each kind, as the first round would send them.

        Names of the shots replace invented ones.

        Args:
            count: Maximum number of requests per kind.
        """
        context, rng = self._context, self._rng(1)
        turns = self._augmentation.turns(1, (), rng)
        specs, _ = self._augmentation.drafts(turns, self._book.picker({}, ()), rng)
        texts = self._writer.requests(specs, context.seed, 1, context.task.labels)
        kinds: dict[str, list[Request]] = {
            "generation": list(texts[:count]),
            "names": list[Request](
                self._book.requests(self._augmentation.wanted(turns), context.seed, 1)
            )[:count],
        }
        if self._labeller is not None:
            known = evenly(self._augmentation.sentences, count)
            asked = self._labeller.requests([Draft(one.text, one.spans) for one in known])
            kinds["labelling"] = evenly(asked, count)
        return {kind: requests for kind, requests in kinds.items() if requests}

    def requests_a_round(self) -> dict[str, int]:
        """Returns the maximum number of requests of each kind per round."""
        rng = self._rng(1)
        turns = self._augmentation.turns(1, (), rng)
        specs, _ = self._augmentation.drafts(turns, self._book.picker({}, ()), rng)
        # Without invented names some sentences cannot be renamed, so they are counted apart.
        unplanned = sum(turn.mode in REWRITTEN for turn in turns) - len(specs)
        counts = {
            "generation": len(self._writer.batches(specs)) + unplanned,
            "names": self._book.request_count(self._augmentation.wanted(turns)),
        }
        if self._labeller is not None:
            # Variants have about as many labelling requests as the shots.
            sentences = evenly(self._augmentation.sentences, ESTIMATED)
            known = [Draft(one.text, one.spans) for one in sentences]
            counts["labelling"] = round_up(
                self._settings.n_texts * len(self._labeller.requests(known)) / len(known)
            )
        return {kind: number for kind, number in counts.items() if number}

    def _rng(self, round: int) -> random.Random:
        return random.Random(derive_seed("llm_da", self._context.seed, "method", round))

    def _round_names(self, turns: Sequence[Turn], round: int) -> tuple[Picker, Cost]:
        """Collects the names of a round, with new ones from the teacher."""
        context, wanted, began = self._context, self._augmentation.wanted(turns), perf_counter()
        new: Mapping[str, Sequence[str]] = {}
        asked = failed = 0
        if any(wanted.values()) and context.teacher is not None:
            context.on_phase("names", self._book.request_count(wanted))
            new, asked, failed = self._book.invent(
                context.teacher, wanted, context.seed, round, context.on_reply
            )
        names = self._book.picker(new, context.pool.rows)
        return names, Cost(asked, failed, {"names": perf_counter() - began})
