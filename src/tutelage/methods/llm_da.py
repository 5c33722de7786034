"""LLM-DA: data augmentation for NER by an LLM at the level of context and of entities (after Ye et al. 2024, arXiv 2402.14568).

Reconstructed. A round makes variants of the gold sentences, as :mod:`tutelage.methods.augmentation` says. Nothing follows from the student,
and a resumed run needs the pool alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from math import ceil as round_up
from typing import Any

from tutelage.errors import ConfigError
from tutelage.methods.admission import Admission
from tutelage.methods.asking import AskingMethod
from tutelage.methods.augmentation import REPLACED, REWRITTEN, Augmentation, Turn
from tutelage.methods.llm_da_settings import LLMDASettings
from tutelage.methods.names import NameBook, Picker
from tutelage.methods.protocol import Ground, gold_rows
from tutelage.methods.repeats import Repeats
from tutelage.methods.writing import Writer, Written
from tutelage.records import Feedback, Growth, record_id
from tutelage.selectors.acceptance import Judge
from tutelage.teacher.labelling import Draft, NewLabeller
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.protocol import Request, Sampling
from tutelage.teacher.scoring import ordered_demonstrations


class LLMDA(AskingMethod):
    """The method. It has no calibrator unless ``separated`` asks for labels."""

    def __init__(
        self,
        name: str,
        settings: LLMDASettings,
        prompts: PromptSet,
        sampling: Sampling,
        acceptance: Judge,
        new_labeller: NewLabeller,
        *,
        min_words: int,
        max_words: int,
    ) -> None:
        super().__init__(name, prompts, new_labeller)
        self._settings = settings
        self._acceptance = acceptance
        self._writer = Writer(prompts, sampling, min_words, max_words)

    @property
    def rounds(self) -> int:
        """How many rounds it grows at most."""
        return self._settings.rounds

    @property
    def asks_teacher(self) -> bool:
        """False for noise alone, and for names of the shots alone."""
        inventing = self._settings.invented_names > 0 and any(mode in REPLACED for mode in self._settings.modes)
        return self._settings.separated or inventing or any(mode in REWRITTEN for mode in self._settings.modes)

    def stand_on(self, ground: Ground) -> None:
        """Take the shots as the sentences to vary.

        Raises:
            ConfigError: the task has no entities, or shots, a teacher or a template is missing.
        """
        if ground.task.level != "word":
            raise ConfigError("method=llm_da keeps the entities of sentences, and this task has none. Give task=ner, or take method=evokd.")
        if not ground.shots:
            raise ConfigError("method=llm_da varies labelled shots and shots=0 gives none; give shots=1 or more.")
        if ground.teacher is None and self.asks_teacher:
            raise ConfigError("method=llm_da needs a teacher.")
        settings = self._settings
        if any(mode in REWRITTEN for mode in settings.modes):
            self._prompts.require("rewrite")
        self._ground = ground
        self._augmentation = Augmentation(
            ground, "easy", settings.n_texts, settings.modes, self._prompts.strategies, settings.invented_names, settings.noise_words
        )
        self._book = NameBook(ground.task.labels, ground.shots, self._prompts, settings.invented_names)
        if settings.separated and ground.teacher is not None:
            self._labeller = self._new_labeller(ground.task, ground.teacher, ordered_demonstrations(ground.shots, ground.seed))
        repeats = Repeats(ground, settings.near_duplicate, settings.near_own)
        self._admission = Admission(self._labeller, self._acceptance, repeats)

    def first_rows(self) -> Growth:
        """The shots."""
        self._calibrate()
        return Growth(round=0, rows=tuple(gold_rows(self._ground.shots)))

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """Nothing: it does not look at the student."""
        return Feedback(feedback.round, (), {})

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Names where new ones are wanted, then every text that needs the teacher, then the others."""
        ground, chance = self._ground, self._chance(round)
        turns = self._augmentation.turns(round, ground.pool.rows, chance)
        began = time.perf_counter()
        names, asked, failed = self._names(turns, round)
        seconds = {"names": time.perf_counter() - began}
        briefs, free = self._augmentation.drafts(turns, names, chance)
        written: list[Written] = []
        if briefs and ground.teacher is not None:
            began = time.perf_counter()
            ground.on_phase("generation", len(briefs))
            written = self._writer.write(ground.teacher, briefs, ground.seed, round, ground.on_reply)
            seconds["generation"] = time.perf_counter() - began
        return self._admission.grow(ground, [*written, *free], self._writer, round, seconds, asked=asked, failed=failed)

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Real requests of each kind, at most ``count`` of each, as a first round would send them; for planning.

        Invented names are not there yet, so those of the shots stand in.
        """
        ground, chance = self._ground, self._chance(1)
        turns = self._augmentation.turns(1, (), chance)
        briefs, _ = self._augmentation.drafts(turns, self._book.picker({}, ()), chance)
        kinds: dict[str, list[Request]] = {
            "generation": list(self._writer.requests(briefs[:count], ground.seed, 1)),
            "names": list[Request](self._book.requests(self._augmentation.wanted(turns), ground.seed, 1))[:count],
        }
        if self._labeller is not None:
            kinds["labelling"] = self._labeller.requests([Draft(one.text, one.spans) for one in self._augmentation.sentences[:count]])
        return {kind: requests for kind, requests in kinds.items() if requests}

    def requests_a_round(self) -> dict[str, int]:
        """How many requests of each kind a round makes at most."""
        turns = self._augmentation.turns(1, (), self._chance(1))
        counts = {
            "generation": sum(turn.mode in REWRITTEN for turn in turns),
            "names": sum(self._augmentation.wanted(turns).values()),
        }
        if self._labeller is not None:
            known = [Draft(one.text, one.spans) for one in self._augmentation.sentences]
            counts["labelling"] = round_up(self._settings.n_texts * len(self._labeller.requests(known)) / len(known))
        return {kind: number for kind, number in counts.items() if number}

    def _chance(self, round: int) -> random.Random:
        return random.Random(int(record_id("llm_da", self._ground.seed, "method", round), 16))

    def _names(self, turns: Sequence[Turn], round: int) -> tuple[Picker, int, int]:
        ground, wanted = self._ground, self._augmentation.wanted(turns)
        if not any(wanted.values()) or ground.teacher is None:
            return self._book.picker({}, ground.pool.rows), 0, 0
        ground.on_phase("names", sum(wanted.values()))
        new, asked, failed = self._book.invent(ground.teacher, wanted, ground.seed, round, ground.on_reply)
        return self._book.picker(new, ground.pool.rows), asked, failed


def llm_da(
    name: str,
    prompts: PromptSet,
    acceptance: Judge,
    new_labeller: NewLabeller,
    *,
    temperature: float,
    top_p: float,
    max_tokens: int,
    min_words: int,
    max_words: int,
    **settings: Any,
) -> LLMDA:
    """Build LLM-DA from the flat values of conf/method/llm_da.yaml; ``settings`` are those of :class:`LLMDASettings`."""
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens, stop=("\n",))
    return LLMDA(name, LLMDASettings(**settings), prompts, sampling, acceptance, new_labeller, min_words=min_words, max_words=max_words)
