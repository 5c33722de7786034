"""LLM-DA: data augmentation for NER by an LLM at the level of context and of entities (after Ye et al. 2024, arXiv 2402.14568).

Reconstructed. A round makes variants of the gold sentences: rewritten around their entities by one of 14 strategies, with other names of
the same types, both in turn, and with noise outside the entities. Nothing follows from the student, and a resumed run needs the pool alone.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from math import ceil as round_up
from typing import Any

from tutelage.errors import ConfigError
from tutelage.methods.admission import Admission
from tutelage.methods.asking import AskingMethod
from tutelage.methods.llm_da_settings import REPLACED, REWRITTEN, LLMDASettings
from tutelage.methods.names import NameBook, Picker
from tutelage.methods.protocol import Ground, gold_rows
from tutelage.methods.repeats import Repeats
from tutelage.methods.variants import Marked, marked, noised, renamed
from tutelage.methods.writing import Brief, Shown, Writer, Written, by_type, find_mention
from tutelage.records import Feedback, Growth, Row, record_id
from tutelage.selectors.acceptance import Judge
from tutelage.teacher.labelling import Draft, NewLabeller
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.protocol import Request, Sampling
from tutelage.teacher.scoring import ordered_demonstrations

_TRIES = 8
"""Names drawn for an entity until one is new to the sentence."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one text is made from, and how."""

    mode: str
    sentence: Marked
    strategy: str = ""


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
        each, more = divmod(settings.n_texts, len(settings.modes))
        self._shares = {mode: each + (place < more) for place, mode in enumerate(settings.modes)}

    @property
    def rounds(self) -> int:
        """How many rounds it grows at most."""
        return self._settings.rounds

    @property
    def asks_teacher(self) -> bool:
        """False for noise alone, and for names of the shots alone."""
        inventing = self._settings.invented_names > 0 and any(mode in REPLACED for mode in self._shares)
        return self._settings.separated or inventing or any(mode in REWRITTEN for mode in self._shares)

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
        if any(mode in REWRITTEN for mode in self._shares):
            self._prompts.require("rewrite")
        self._ground = ground
        self._labels = {label.name: label for label in ground.task.labels}
        self._sentences = [one for row in gold_rows(ground.shots) if (one := marked(row)).spans]
        if not self._sentences:
            raise ConfigError("method=llm_da keeps the entities of the shots, and none of them has one. Give shots with marked entities.")
        self._book = NameBook(ground.task.labels, ground.shots, self._prompts, self._settings.invented_names)
        if self._settings.separated and ground.teacher is not None:
            self._labeller = self._new_labeller(ground.task, ground.teacher, ordered_demonstrations(ground.shots, ground.seed))
        repeats = Repeats(ground, self._settings.near_duplicate, self._settings.near_own)
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
        ground, chance = self._ground, self._chance("method", round)
        turns = self._turns(round, ground.pool.rows, chance)
        began = time.perf_counter()
        names, asked, failed = self._names(turns, round)
        seconds = {"names": time.perf_counter() - began}
        briefs, free = self._drafts(turns, names, chance)
        written: list[Written] = []
        if briefs and ground.teacher is not None:
            began = time.perf_counter()
            ground.on_phase("generation", len(briefs))
            written = self._writer.write(ground.teacher, briefs, ground.seed, round, ground.on_reply)
            seconds["generation"] = time.perf_counter() - began
        written += [replace(text, draw=len(written) + number) for number, text in enumerate(free)]
        return self._admission.grow(ground, written, self._writer, round, seconds, asked=asked, failed=failed)

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Real requests of each kind, at most ``count`` of each, as a first round would send them; for planning.

        Invented names are not there yet, so those of the shots stand in.
        """
        ground, chance = self._ground, self._chance("method", 1)
        turns = self._turns(1, (), chance)
        briefs, _ = self._drafts(turns, self._book.picker({}, ()), chance)
        kinds: dict[str, list[Request]] = {
            "generation": list(self._writer.requests(briefs[:count], ground.seed, 1)),
            "names": list[Request](self._book.requests(self._wanted(turns), ground.seed, 1))[:count],
        }
        if self._labeller is not None:
            kinds["labelling"] = self._labeller.requests([Draft(one.text, one.spans) for one in self._sentences[:count]])
        return {kind: requests for kind, requests in kinds.items() if requests}

    def requests_a_round(self) -> dict[str, int]:
        """How many requests of each kind a round makes at most."""
        turns = self._turns(1, (), self._chance("method", 1))
        counts = {
            "generation": sum(turn.mode in REWRITTEN for turn in turns),
            "names": sum(self._wanted(turns).values()),
        }
        if self._labeller is not None:
            known = [Draft(one.text, one.spans) for one in self._sentences]
            counts["labelling"] = round_up(self._settings.n_texts * len(self._labeller.requests(known)) / len(known))
        return {kind: number for kind, number in counts.items() if number}

    def _chance(self, *parts: object) -> random.Random:
        return random.Random(int(record_id("llm_da", self._ground.seed, *parts), 16))

    def _turns(self, round: int, pool: Sequence[Row], chance: random.Random) -> list[_Turn]:
        """Every mode goes through all of its (sentence, strategy) pairs before one comes again; noise may also fall on earlier rows."""
        grown = [marked(row) for row in pool if row.accepted and row.source != "gold" and row.detail.get("mode") != "noise"]
        turns = []
        for mode, count in self._shares.items():
            if mode == "noise":
                sources = [*self._sentences, *(one for one in grown if one.spans)]
                turns += [_Turn(mode, chance.choice(sources)) for _ in range(count)]
                continue
            pairs = list(product(self._sentences, self._settings.strategies if mode in REWRITTEN else ("",)))
            self._chance("order", mode).shuffle(pairs)
            begin = (round - 1) * count
            turns += [_Turn(mode, *pairs[place % len(pairs)]) for place in range(begin, begin + count)]
        return turns

    def _wanted(self, turns: Sequence[_Turn]) -> dict[str, int]:
        """How many names of each type are to be invented."""
        total = Counter(type for turn in turns if turn.mode in REPLACED for _, type in turn.sentence.mentions)
        return {type: round_up(self._settings.invented_names * count) for type, count in total.items()}

    def _names(self, turns: Sequence[_Turn], round: int) -> tuple[Picker, int, int]:
        ground, wanted = self._ground, self._wanted(turns)
        if not any(wanted.values()) or ground.teacher is None:
            return self._book.picker({}, ground.pool.rows), 0, 0
        ground.on_phase("names", sum(wanted.values()))
        new, asked, failed = self._book.invent(ground.teacher, wanted, ground.seed, round, ground.on_reply)
        return self._book.picker(new, ground.pool.rows), asked, failed

    def _drafts(self, turns: Sequence[_Turn], names: Picker, chance: random.Random) -> tuple[list[Brief], list[Written]]:
        """Briefs for what the teacher has to write, and the texts that are made already, or could not be."""
        briefs: list[Brief] = []
        free: list[Written] = []
        used: dict[str, list[str]] = {}
        for turn in turns:
            sentence, fault = turn.sentence, ""
            if turn.mode in REPLACED:
                sentence, fault = self._with_other_names(turn.sentence, names, used, chance)
            elif turn.mode == "noise":
                changed = noised(sentence, self._settings.noise_words, chance)
                sentence, fault = changed or sentence, "" if changed else "no word outside the entities"
            brief = self._brief(turn, sentence)
            if turn.mode in REWRITTEN and not fault:
                briefs.append(brief)
            else:
                spans, kept = by_type(sentence.spans, brief.label.name)
                free.append(Written(brief, sentence.text, fault, failed=False, draw=0, spans=spans, kept=kept, free=True))
        return briefs, free

    @staticmethod
    def _with_other_names(sentence: Marked, names: Picker, used: dict[str, list[str]], chance: random.Random) -> tuple[Marked, str]:
        """The sentence with another name for every entity, or as it was with the reason; ``used`` are the round's names by type."""
        chosen: dict[tuple[str, str], str] = {}
        for mention, type in sentence.mentions:
            # With few shots a type may have no other known name; then one that another sentence got serves again.
            again = chance.sample(known := used.setdefault(type, []), len(known))
            drawn = chain((names.pick(type, "easy", chance).words for _ in range(_TRIES)), again)
            other = (name for name in drawn if name and name not in chosen.values() and not find_mention(sentence.text, name, type))
            if not (name := next(other, "")):
                return sentence, f"no other name for {mention!r}"
            chosen[mention, type] = name
            known.append(name)
        return renamed(sentence, chosen), ""

    def _brief(self, turn: _Turn, sentence: Marked) -> Brief:
        mentions, types = zip(*sentence.mentions, strict=True)
        return Brief(
            label=self._labels[types[0]],
            kind="easy",
            demonstrations=(Shown(sentence.text, mentions),),
            parents=(sentence.id,),
            mentions=mentions,
            types=types,
            template="rewrite",
            instruction=self._settings.strategies[turn.strategy] if turn.strategy else "",
            detail=(("mode", turn.mode), *([("strategy", turn.strategy)] if turn.strategy else [])),
        )


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
