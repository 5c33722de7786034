"""LLM-DA: data augmentation for NER by an LLM at the level of context and of entities (after Ye et al. 2024, arXiv 2402.14568).

Reconstructed. A round makes variants of the gold sentences, as :mod:`tutelage.methods.generation.augmentation` says. Nothing follows from the student,
and a resumed run needs the pool alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from math import ceil as round_up

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft, NewLabeller
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.methods.base import MethodContext, TeacherMethod, gold_rows
from tutelage.methods.generation.acceptance import Acceptance
from tutelage.methods.generation.augmentation import REPLACED, REWRITTEN, Augmentation, Turn
from tutelage.methods.generation.duplicates import Repeats
from tutelage.methods.generation.entity_names import NameBook, Picker
from tutelage.methods.generation.writer import Candidate, Writer
from tutelage.methods.llm_da.settings import LLMDASettings
from tutelage.records import Feedback, Growth, derive_seed
from tutelage.selectors.acceptance import AcceptSelector
from tutelage.teacher.base import Request, Sampling
from tutelage.teacher.prompts import PromptSet


class LLMDA(TeacherMethod):
    """The method. It has no calibrator unless ``separated`` asks for labels."""

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
        sampling = Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens,
            stop=("\n",),
        )
        self._writer = Writer(prompts, sampling, settings.min_words, settings.max_words)

    @property
    def rounds(self) -> int:
        """How many rounds it grows at most."""
        return self._settings.rounds

    @property
    def asks_teacher(self) -> bool:
        """False for noise alone, and for names of the shots alone."""
        inventing = self._settings.invented_names > 0 and any(
            mode in REPLACED for mode in self._settings.modes
        )
        return (
            self._settings.separated
            or inventing
            or any(mode in REWRITTEN for mode in self._settings.modes)
        )

    def setup(self, context: MethodContext) -> None:
        """Take the shots as the sentences to vary.

        Raises:
            ConfigError: the task has no entities, or shots, a teacher or a template is missing.
        """
        if not context.task.is_token_level:
            raise ConfigError(
                "method=llm_da keeps the entities of sentences, and this task has none. Give task=ner, or take method=evokd."
            )
        if not context.shots:
            raise ConfigError(
                "method=llm_da varies labelled shots and shots=0 gives none; give shots=1 or more."
            )
        if context.teacher is None and self.asks_teacher:
            raise ConfigError("method=llm_da needs a teacher.")
        settings = self._settings
        if any(mode in REWRITTEN for mode in settings.modes):
            self._prompts.require("rewrite")
        self._context = context
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
            context.task.labels, context.shots, self._prompts, settings.invented_names
        )
        if settings.separated and context.teacher is not None:
            self._labeller = self._new_labeller(
                context.task, context.teacher, ordered_demonstrations(context.shots, context.seed)
            )
        repeats = Repeats(context, settings.near_duplicate, settings.near_own)
        self._acceptance = Acceptance(self._labeller, self._accept_selector, repeats)

    def first_rows(self) -> Growth:
        """The shots."""
        self._calibrate()
        return Growth(round=0, rows=tuple(gold_rows(self._context.shots)))

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """Nothing: it does not look at the student."""
        return Feedback(feedback.round, (), {})

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Names where new ones are wanted, then every text that needs the teacher, then the others."""
        context, rng = self._context, self._rng(round)
        turns = self._augmentation.turns(round, context.pool.rows, rng)
        began = time.perf_counter()
        names, asked, failed = self._names(turns, round)
        seconds = {"names": time.perf_counter() - began}
        specs, free = self._augmentation.drafts(turns, names, rng)
        written: list[Candidate] = []
        if specs and context.teacher is not None:
            began = time.perf_counter()
            context.on_phase("generation", len(specs))
            written = self._writer.write(
                context.teacher, specs, context.seed, round, context.on_reply
            )
            seconds["generation"] = time.perf_counter() - began
        return self._acceptance.grow(
            context, [*written, *free], self._writer, round, seconds, asked=asked, failed=failed
        )

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Real requests of each kind, at most ``count`` of each, as a first round would send them; for planning.

        Invented names are not there yet, so those of the shots stand in.
        """
        context, rng = self._context, self._rng(1)
        turns = self._augmentation.turns(1, (), rng)
        specs, _ = self._augmentation.drafts(turns, self._book.picker({}, ()), rng)
        kinds: dict[str, list[Request]] = {
            "generation": list(self._writer.requests(specs[:count], context.seed, 1)),
            "names": list[Request](
                self._book.requests(self._augmentation.wanted(turns), context.seed, 1)
            )[:count],
        }
        if self._labeller is not None:
            kinds["labelling"] = self._labeller.requests(
                [Draft(one.text, one.spans) for one in self._augmentation.sentences[:count]]
            )
        return {kind: requests for kind, requests in kinds.items() if requests}

    def requests_a_round(self) -> dict[str, int]:
        """How many requests of each kind a round makes at most."""
        turns = self._augmentation.turns(1, (), self._rng(1))
        counts = {
            "generation": sum(turn.mode in REWRITTEN for turn in turns),
            "names": sum(self._augmentation.wanted(turns).values()),
        }
        if self._labeller is not None:
            known = [Draft(one.text, one.spans) for one in self._augmentation.sentences]
            counts["labelling"] = round_up(
                self._settings.n_texts * len(self._labeller.requests(known)) / len(known)
            )
        return {kind: number for kind, number in counts.items() if number}

    def _rng(self, round: int) -> random.Random:
        return random.Random(derive_seed("llm_da", self._context.seed, "method", round))

    def _names(self, turns: Sequence[Turn], round: int) -> tuple[Picker, int, int]:
        context, wanted = self._context, self._augmentation.wanted(turns)
        if not any(wanted.values()) or context.teacher is None:
            return self._book.picker({}, context.pool.rows), 0, 0
        context.on_phase("names", sum(wanted.values()))
        new, asked, failed = self._book.invent(
            context.teacher, wanted, context.seed, round, context.on_reply
        )
        return self._book.picker(new, context.pool.rows), asked, failed
