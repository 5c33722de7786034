"""LLM-DA's augmentation of marked sentences, for the rounds of method=llm_da and for EvoKD's +Init (after Ye et al. 2024, arXiv 2402.14568).

Reconstructed. A sentence is rewritten around its entities by one of 14 strategies, gets other names of the same types, both in turn, or noise
outside its entities. A rewrite in which one of them is lost is rejected by :class:`tutelage.methods.generation.writer.Writer`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from math import ceil as round_up

from tutelage.errors import ConfigError
from tutelage.methods.base import MethodContext, gold_rows
from tutelage.methods.generation.entity_names import Picker
from tutelage.methods.generation.variants import Marked, marked, noised, renamed
from tutelage.methods.generation.writer import (
    Candidate,
    GenerationSpec,
    Shown,
    by_type,
    find_mention,
)
from tutelage.records import Row, Source, derive_seed

MODES = ("rewrite", "replace", "both", "noise")
REWRITTEN, REPLACED = ("rewrite", "both"), ("replace", "both")
"""The modes that ask for a text, and those that give the entities other names."""

_TRIES = 8
"""Names drawn for an entity until one is new to the sentence."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one text is made from, and how."""

    mode: str
    sentence: Marked
    strategy: str = ""


class Augmentation:
    """Makes texts from the shots of a ground, and writes the briefs of those that the teacher has to write.

    Args:
        source: the rows' source.
        n_texts: texts of a round, shared evenly over ``modes`` (of :data:`MODES`).
        strategies: what a rewrite is asked for, name → instruction.
        invented_names: share of the other names that are new.
        noise_words: share of the words outside the entities that noise changes.

    Attributes:
        sentences: the shots that have entities.

    Raises:
        ConfigError: no shot has one, or there is nothing to rewrite by.
    """

    def __init__(
        self,
        context: MethodContext,
        source: Source,
        n_texts: int,
        modes: Sequence[str],
        strategies: Mapping[str, str],
        invented_names: float,
        noise_words: float = 0.0,
    ) -> None:
        if not strategies and {*modes} & {*REWRITTEN}:
            raise ConfigError(
                "prompt.strategies is empty, so LLM-DA has nothing to rewrite by. Name one, take prompt=completion_ner, "
                "or do without: rewrite and both out of method.modes, or method.init=paraphrase."
            )
        self.sentences = [one for row in gold_rows(context.shots) if (one := marked(row)).spans]
        if not self.sentences:
            raise ConfigError(
                "LLM-DA keeps the entities of the shots, and none of them has one. Give shots with marked entities, or take method.init=paraphrase."
            )
        self._labels = {label.name: label for label in context.task.labels}
        self._seed = context.seed
        self._source = source
        each, more = divmod(n_texts, len(modes))
        self._shares = {mode: each + (index < more) for index, mode in enumerate(modes)}
        self._strategies = strategies
        self._invented_names = invented_names
        self._noise_words = noise_words

    def turns(self, round: int, pool: Sequence[Row], rng: random.Random) -> list[Turn]:
        """Every mode goes through all of its (sentence, strategy) pairs before one comes again.

        Args:
            round: from 1.
            pool, chance: for noise alone, which falls on any of the sentences and of the accepted rows.
        """
        grown = [
            marked(row)
            for row in pool
            if row.accepted and row.source != "gold" and row.detail.get("mode") != "noise"
        ]
        turns = []
        for mode, count in self._shares.items():
            if mode == "noise":
                sources = [*self.sentences, *(one for one in grown if one.spans)]
                turns += [Turn(mode, rng.choice(sources)) for _ in range(count)]
                continue
            pairs = list(product(self.sentences, self._strategies if mode in REWRITTEN else ("",)))
            random.Random(derive_seed("llm_da", self._seed, "order", mode)).shuffle(pairs)
            begin = (round - 1) * count
            turns += [
                Turn(mode, *pairs[index % len(pairs)]) for index in range(begin, begin + count)
            ]
        return turns

    def wanted(self, turns: Sequence[Turn]) -> dict[str, int]:
        """How many names of each type are to be invented."""
        total = Counter(
            type for turn in turns if turn.mode in REPLACED for _, type in turn.sentence.mentions
        )
        return {type: round_up(self._invented_names * count) for type, count in total.items()}

    def drafts(
        self, turns: Sequence[Turn], names: Picker, rng: random.Random
    ) -> tuple[list[GenerationSpec], list[Candidate]]:
        """Briefs for what the teacher has to write, and after them the texts that are made already, or could not be."""
        specs: list[GenerationSpec] = []
        free: list[Candidate] = []
        used: dict[str, list[str]] = {}
        for turn in turns:
            sentence, fault = turn.sentence, ""
            if turn.mode in REPLACED:
                sentence, fault = self._with_other_names(turn.sentence, names, used, rng)
            elif turn.mode == "noise":
                changed = noised(sentence, self._noise_words, rng)
                sentence, fault = (
                    changed or sentence,
                    "" if changed else "no word outside the entities",
                )
            spec = self._spec(turn, sentence)
            if turn.mode in REWRITTEN and not fault:
                specs.append(spec)
            else:
                spans, kept = by_type(sentence.spans, spec.asked)
                free.append(
                    Candidate(
                        spec,
                        sentence.text,
                        fault,
                        failed=False,
                        draw=0,
                        spans=spans,
                        kept=kept,
                        free=True,
                    )
                )
        return specs, [replace(text, draw=len(specs) + number) for number, text in enumerate(free)]

    @staticmethod
    def _with_other_names(
        sentence: Marked, names: Picker, used: dict[str, list[str]], rng: random.Random
    ) -> tuple[Marked, str]:
        """The sentence with another name for every entity, or as it was with the reason; ``used`` are the round's names by type."""
        chosen: dict[tuple[str, str], str] = {}
        for mention, type in sentence.mentions:
            # With few shots a type may have no other known name; then one that another sentence got serves again.
            again = rng.sample(known := used.setdefault(type, []), len(known))
            drawn = chain((names.pick(type, "easy", rng).words for _ in range(_TRIES)), again)
            other = (
                name
                for name in drawn
                if name
                and name not in chosen.values()
                and not find_mention(sentence.text, name, type)
            )
            if not (name := next(other, "")):
                return sentence, f"no other name for {mention!r}"
            chosen[mention, type] = name
            known.append(name)
        return renamed(sentence, chosen), ""

    def _spec(self, turn: Turn, sentence: Marked) -> GenerationSpec:
        mentions, types = zip(*sentence.mentions, strict=True)
        return GenerationSpec(
            label=self._labels[types[0]],
            kind=self._source,
            demonstrations=(Shown(sentence.text, mentions),),
            parents=(sentence.id,),
            mentions=mentions,
            types=types,
            template="rewrite",
            instruction=self._strategies[turn.strategy] if turn.strategy else "",
            detail=(("mode", turn.mode), *([("strategy", turn.strategy)] if turn.strategy else [])),
        )
