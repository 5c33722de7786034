"""The names that NER sentences are written around: of the shots, what the student confuses or gets right, earlier rounds, and invented ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tutelage.errors import ConfigError
from tutelage.methods.generation.writer import clean
from tutelage.records import Example, Label, Outcome, Row, derive_seed
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.protocol import Mistake
from tutelage.tasks.spans import joined, read_spans, split_words, write_spans
from tutelage.teacher.base import GenerateRequest, Sampling, Teacher
from tutelage.teacher.prompts import PromptSet

_SAMPLING = Sampling(temperature=1.0, top_p=0.95, max_tokens=12, stop=("\n",))
"""Hotter than texts are written, for more different names; a name is short."""


def mentions_of(text: str, target: str) -> list[tuple[str, str]]:
    """(mention, type) of every entity of a marked text, in order."""
    words = text.split(" ")
    return [(" ".join(words[span.start : span.end]), span.type) for span in read_spans(target)]


class Name(NamedTuple):
    """The words that a text is written around, and what they are: a type, or "O" where the student took them for a name and they are none."""

    words: str
    type: str


class NameBook:
    """Gives a brief its name.

    Half of the hard texts are written around what the student got wrong, where there is something: a name that it missed, cut off or took
    for another type, or words that it took for a name of the type asked for. Any other text is written around an invented name with
    probability ``invented``, else around one that is known: an easy text's is one that the student got right, where there is such a name
    of the type, and all others' are of the shots or of an accepted row. Ours: the paper's NER prompts are not known.

    Args:
        labels: the entity types.
        invented: share of texts around a new name.
        max_words: longer names are not used.

    Raises:
        ConfigError: the share is outside [0, 1].
    """

    def __init__(
        self,
        labels: Sequence[Label],
        shots: Sequence[Example],
        prompts: PromptSet,
        invented: float,
        max_words: int = 6,
    ) -> None:
        if not 0.0 <= invented <= 1.0:
            raise ConfigError(f"method.invented_names={invented} must be in [0, 1].")
        self._labels = tuple(labels)
        self._prompts = prompts
        self._invented = invented
        self._max_words = max_words
        self._gold = _by_type((shot.text, shot.label) for shot in shots if shot.label)

    def requests(self, quota: Mapping[str, int], seed: int, round: int) -> list[GenerateRequest]:
        """A request for one name of each brief, type after type; ids are "type/number"."""
        requests = []
        for label in self._labels:
            prompt = self._prompts.render(
                "names", label=label, demonstrations=self._gold.get(label.name, [])[:3]
            )
            for number in range(quota.get(label.name, 0)):
                drawn = derive_seed("name", seed, round, label.name, number, bits=31)
                requests.append(
                    GenerateRequest(f"{label.name}/{number}", prompt, _SAMPLING, seed=drawn)
                )
        return requests

    def invent(
        self,
        teacher: Teacher,
        quota: Mapping[str, int],
        seed: int,
        round: int,
        on_reply: Callable[[Any], None] | None,
    ) -> tuple[dict[str, list[str]], int, int]:
        """Different new names by type, and how many requests were made and failed."""
        requests = self.requests(quota, seed, round)
        names: dict[str, list[str]] = {label.name: [] for label in self._labels}
        failed = 0
        for request, reply in zip(requests, teacher.ask(requests, on_reply), strict=True):
            failed += bool(reply.error)
            type, name = request.id.rsplit("/", 1)[0], self._name(reply.text)
            if name and name not in names[type]:
                names[type].append(name)
        return names, len(requests), failed

    def picker(
        self,
        new: Mapping[str, Sequence[str]],
        pool: Sequence[Row],
        mistakes: Iterable[Mistake] = (),
        outcomes: Iterable[Outcome] = (),
    ) -> Picker:
        """What :class:`tutelage.methods.evokd.planner.RoundPlanner` draws the names of one round from.

        Args:
            new: invented names by type.
            mistakes: what the student got wrong.
            outcomes: what it made of the texts; the names in them that it got right are taken.
        """
        grown = _by_type(
            (row.text, row.target) for row in pool if row.accepted and row.source != "gold"
        )
        known = {
            name
            for names in (*self._gold.values(), *grown.values(), *new.values())
            for name in names
        }
        wrong: dict[str, list[Name]] = {}
        for one in mistakes:
            if one.right:
                wrong.setdefault(one.right, []).append(Name(one.words, one.right))
            # What is a name elsewhere was perhaps overlooked by the teacher here.
            elif one.words not in known and self._may_be_none(one.words):
                wrong.setdefault(one.predicted, []).append(Name(one.words, OUTSIDE))
        right = _by_type(
            (one.text, write_spans({*read_spans(one.target)} & {*read_spans(one.predicted)}))
            for one in outcomes
        )
        return Picker(self._gold, grown, new, wrong, right, self._invented)

    def _may_be_none(self, words: str) -> bool:
        """False for what no sentence can go on from."""
        return (
            any(letter.isalpha() for letter in words) and len(words.split(" ")) <= self._max_words
        )

    def _name(self, text: str) -> str:
        line = clean(text).strip(" .,;:")
        for cut in (" - ", ":", "(", ",", ";"):
            line = line.split(cut)[0].strip()
        line = clean(line)  # quotes that only wrapped the name
        name = joined(line, split_words(line))
        words = name.split(" ")
        return (
            name
            if name and len(words) <= self._max_words and any(word[:1].isupper() for word in words)
            else ""
        )


class Picker:
    """Draws the name of one brief after the other."""

    def __init__(
        self,
        gold: Mapping[str, Sequence[str]],
        grown: Mapping[str, Sequence[str]],
        new: Mapping[str, Sequence[str]],
        wrong: Mapping[str, Sequence[Name]],
        right: Mapping[str, Sequence[str]],
        invented: float,
    ) -> None:
        self._known = {
            type: [*gold.get(type, ()), *grown.get(type, ())] for type in {*gold, *grown, *new}
        }
        self._new = {type: list(names) for type, names in new.items()}
        self._invented_so_far = {type: tuple(names) for type, names in new.items()}
        self._wrong = wrong
        self._right = right
        self._invented = invented

    def pick(self, type: str, kind: str, rng: random.Random) -> Name:
        """What a text of ``kind`` that is asked for ``type`` is written around; no words where no name is known."""
        first = rng.random()
        if kind == "hard" and (wrong := self._wrong.get(type)) and first < 0.5:
            return rng.choice(wrong)
        if (fresh := self._new.get(type)) and rng.random() < self._invented:
            return Name(fresh.pop(rng.randrange(len(fresh))), type)
        # Without gold the names that were drawn already serve again, when no other is left.
        easy = self._right.get(type) if kind == "easy" else None
        known = (
            easy or self._known.get(type) or self._new.get(type) or self._invented_so_far.get(type)
        )
        return Name(rng.choice(known) if known else "", type)


def _by_type(texts: Any) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for text, target in texts:
        for mention, type in mentions_of(text, target):
            found.setdefault(type, {})[mention] = None
    return {type: list(names) for type, names in found.items()}
