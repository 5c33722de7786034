"""Augmentation of marked NER sentences, for method=llm_da and for EvoKD's +Init.

After LLM-DA (Ye et al. 2024, arXiv 2402.14568), reconstructed. A sentence changes in one of four
ways: it is rewritten around its entities by one of 14 strategies, its entities get other names of
their types, both in turn, or words outside the entities get noise.
:class:`~tutelage.methods.generation.writer.Writer` rejects a rewriting without one of the entities.
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
from tutelage.methods.generation.mentions import by_type, find_mention
from tutelage.methods.generation.specs import Candidate, GenerationSpec, Shown
from tutelage.methods.generation.variants import Marked, marked, noised, renamed
from tutelage.records import Row, Source, derive_seed

MODES = ("rewrite", "replace", "both", "noise")
REWRITTEN, REPLACED = ("rewrite", "both"), ("replace", "both")
"""Modes with a rewriting by the teacher, and modes with other entity names."""

_TRIES = 8
"""Maximum number of names drawn for an entity before names of other sentences are reused."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The plan of one text.

    Attributes:
        mode: One of :data:`MODES`.
        sentence: The sentence to change.
        strategy: Name of the rewriting strategy; "" for none.
    """

    mode: str
    sentence: Marked
    strategy: str = ""


class Augmentation:
    """Makes variants of the shots, or specifications for the variants written by the teacher.

    Args:
        context: Provides the labels, the shots and the seed.
        source: Source of the rows.
        n_texts: Texts per round, shared evenly by the modes.
        modes: Ways to change a sentence, of :data:`MODES`.
        strategies: Rewriting strategies, name -> instruction.
        invented_names: Share of the other names that are invented, in [0, 1].
        noise_words: Share of the words outside the entities changed by noise, in (0, 1].

    Attributes:
        sentences: The shots with entities.

    Raises:
        ConfigError: No shot has an entity, or there are no strategies for rewriting.
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
            without = "remove rewrite and both from method.modes"
            if source == "init":  # +Init of another method, which has no modes
                without = "take method.init=paraphrase"
            raise ConfigError(
                "prompt.strategies is empty, so LLM-DA cannot rewrite sentences. Add a strategy, "
                f"or take prompt/templates@prompt=ner. To do without rewriting, {without}."
            )
        self.sentences = [one for row in gold_rows(context.shots) if (one := marked(row)).spans]
        if not self.sentences:
            instead = "method.n_init=0" if source == "init" else "method=evokd"
            raise ConfigError(
                "LLM-DA keeps the entities of the shots, and no shot has one. Give shots with "
                f"marked entities, or take {instead}."
            )
        self._labels = {label.name: label for label in context.task.labels}
        self._seed = context.seed
        self._source = source
        # The first modes take the remainder.
        each, more = divmod(n_texts, len(modes))
        self._shares = {mode: each + (index < more) for index, mode in enumerate(modes)}
        self._strategies = strategies
        self._invented_names = invented_names
        self._noise_words = noise_words

    def turns(self, round: int, pool: Sequence[Row], rng: random.Random) -> list[Turn]:
        """Plans the texts of a round.

        Each mode goes through all of its (sentence, strategy) pairs before one repeats.

        Args:
            round: The round, from 1.
            pool: The rows so far. Noise may fall on accepted ones too, not only on the shots.
            rng: Chooses the sentences for noise; the other modes follow from the run's seed.
        """
        # Accepted rows, without the noisy ones: noise must not pile up.
        grown = [
            marked(row)
            for row in pool
            if row.accepted and not row.given and row.detail.get("mode") != "noise"
        ]
        turns = []
        for mode, count in self._shares.items():
            # Noise draws from the shots and the accepted rows.
            if mode == "noise":
                sources = [*self.sentences, *(one for one in grown if one.spans)]
                turns += [Turn(mode, rng.choice(sources)) for _ in range(count)]
                continue
            # Every other mode continues in its own shuffled order, where the last round ended.
            pairs = list(product(self.sentences, self._strategies if mode in REWRITTEN else ("",)))
            random.Random(derive_seed("llm_da", self._seed, "order", mode)).shuffle(pairs)
            begin = (round - 1) * count
            turns += [
                Turn(mode, *pairs[index % len(pairs)]) for index in range(begin, begin + count)
            ]
        return turns

    def wanted(self, turns: Sequence[Turn]) -> dict[str, int]:
        """Returns the number of names to invent, by type."""
        # One per distinct entity of each renamed sentence.
        total = Counter(
            type for turn in turns if turn.mode in REPLACED for _, type in turn.sentence.mentions
        )
        return {type: round_up(self._invented_names * count) for type, count in total.items()}

    def drafts(
        self, turns: Sequence[Turn], names: Picker, rng: random.Random
    ) -> tuple[list[GenerationSpec], list[Candidate]]:
        """Turns plans into specifications and finished texts.

        Args:
            turns: The plans of a round.
            names: Source of the other names.
            rng: Chooses names and noise.

        Returns:
            The specifications of the texts the teacher has to write, and the other texts as
            candidates: finished without a request, or impossible, with the reason. Their draw
            numbers follow those of the specifications.
        """
        specs: list[GenerationSpec] = []
        free: list[Candidate] = []
        used: dict[str, list[str]] = {}
        for turn in turns:
            # Change the sentence without the teacher.
            sentence, fault = turn.sentence, ""
            if turn.mode in REPLACED:
                sentence, fault = self._with_other_names(turn.sentence, names, used, rng)
            elif turn.mode == "noise":
                changed = noised(sentence, self._noise_words, rng)
                sentence, fault = (
                    changed or sentence,
                    "" if changed else "no word outside the entities",
                )
            # Leave a rewriting to the teacher; any other text is finished.
            spec = self._spec(turn, sentence)
            if turn.mode in REWRITTEN and not fault:
                specs.append(spec)
            else:
                # The first type is requested and may be labelled; the other entities always stay.
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
        # Draw numbers are part of row ids, so they must not repeat.
        return specs, [replace(text, draw=len(specs) + number) for number, text in enumerate(free)]

    @staticmethod
    def _with_other_names(
        sentence: Marked, names: Picker, used: dict[str, list[str]], rng: random.Random
    ) -> tuple[Marked, str]:
        """Renames all entities of a sentence.

        Args:
            sentence: The sentence.
            names: Source of the names.
            used: Names used in this round, by type; extended by the new ones.
            rng: Chooses the names.

        Returns:
            The new sentence and "", or the old one and the reason of the failure.
        """
        chosen: dict[tuple[str, str], str] = {}
        for mention, type in sentence.mentions:
            # With few shots, a type may have no other known name. Names given to other sentences
            # of this round then serve again.
            again = rng.sample(known := used.setdefault(type, []), len(known))
            drawn = chain((names.pick(type, "easy", rng).words for _ in range(_TRIES)), again)
            other = (
                name
                for name in drawn
                if name
                and name not in chosen.values()
                and not find_mention(sentence.text, name, type)
            )
            # Give up on the sentence rather than keep one of its names.
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
