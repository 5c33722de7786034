"""Names for generated NER sentences.

They come from the shots, from entities the student gets wrong or right, from earlier rounds, and
from the teacher, which invents new ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil as round_up
from typing import Any, NamedTuple

from tutelage.characters import counts_in_characters
from tutelage.errors import ConfigError
from tutelage.methods.generation.artefacts import COLON, Surroundings, clean, strip_artefacts
from tutelage.methods.generation.batches import batch_sampling, list_of, list_schema
from tutelage.methods.generation.mentions import mentions_of
from tutelage.records import Example, Label, Outcome, Row, derive_seed
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.protocol import Mistake
from tutelage.tasks.spans import joined, read_spans, split_words, write_spans
from tutelage.teacher.base import GenerateRequest, Reply, Sampling, Teacher
from tutelage.teacher.prompts import PromptSet

_FIELD = "names"
"""The field of a reply with several names."""
_SAMPLING = Sampling(temperature=1.0, top_p=0.95, max_tokens=12, stop=("\n",))
"""Sampling of invented names: hotter than that of texts, for variety, and short."""


_LINE = Surroundings(usual=frozenset({COLON}))
"""A name may be the head of a line: "NAME:"."""


class Name(NamedTuple):
    """The words a text is written around, and their type.

    Attributes:
        words: The words; "" if no name is known.
        type: An entity type, or "O" for words the student wrongly took for a name.
    """

    words: str
    type: str


class NameBook:
    """Collects and invents the names of a round.

    Half of the hard texts are written around an error of the student, if there is one: a name it
    missed, cut short or took for another type, or words it took for a name of the requested type.
    Any other text is written around an invented name with probability ``invented``, else around a
    known one. For an easy text that is a name of the type the student got right, if possible;
    otherwise a name from the shots or from an accepted row. Ours: the NER prompts of the paper are
    not published.

    Args:
        labels: The entity types.
        shots: The labelled examples.
        prompts: The prompt templates.
        invented: Share of texts around a new name, in [0, 1].
        max_words: Longer names are not used.
        per_request: Most names that a chat asks for at once, as a list in JSON.

    Raises:
        ConfigError: The share is outside [0, 1].
    """

    def __init__(
        self,
        labels: Sequence[Label],
        shots: Sequence[Example],
        prompts: PromptSet,
        invented: float,
        max_words: int = 6,
        per_request: int = 1,
    ) -> None:
        if not 0.0 <= invented <= 1.0:
            raise ConfigError(f"method.invented_names={invented} must be in [0, 1].")
        self._labels = tuple(labels)
        self._prompts = prompts
        self._invented = invented
        self._max_words = max_words
        self._per_request = per_request if prompts.asks_in_messages("names") else 1
        self._gold = _by_type((shot.text, shot.label) for shot in shots if shot.label)

    def request_count(self, quota: Mapping[str, int]) -> int:
        """Returns the number of requests for so many names by type."""
        return sum(round_up(count / self._per_request) for count in quota.values())

    def requests(self, quota: Mapping[str, int], seed: int, round: int) -> list[GenerateRequest]:
        """Builds the requests for names, type by type: one per name, or in chats per list.

        Args:
            quota: Number of names by type.
            seed: The seed of the run.
            round: The round.

        Returns:
            The requests, with ids of the form "type/number".
        """
        requests = []
        as_list = self._per_request > 1
        for label in self._labels:
            wanted = quota.get(label.name, 0)
            for number in range(0, wanted, self._per_request):
                count = min(self._per_request, wanted - number)
                prompt = self._prompts.render(
                    "names",
                    label=label,
                    demonstrations=self._gold.get(label.name, [])[:3],
                    count=count,
                    as_list=as_list,
                )
                drawn = derive_seed("name", seed, round, label.name, number, bits=31)
                in_messages = self._prompts.asks_in_messages("names")
                sampling = replace(_SAMPLING, stop=()) if in_messages else _SAMPLING
                requests.append(
                    GenerateRequest(
                        f"{label.name}/{number}",
                        prompt,
                        batch_sampling(sampling, count) if as_list else sampling,
                        seed=drawn,
                        json_schema=list_schema(_FIELD, count) if as_list else "",
                    )
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
        """Asks the teacher for new names.

        Args:
            teacher: The teacher.
            quota: Number of names to request, by type.
            seed: The seed of the run.
            round: The round.
            on_reply: Called with each reply as it arrives.

        Returns:
            The distinct usable names by type, the number of requests, and the number of failed
            ones.
        """
        requests = self.requests(quota, seed, round)
        names: dict[str, list[str]] = {label.name: [] for label in self._labels}
        failed = 0
        for request, reply in zip(requests, teacher.ask(requests, on_reply), strict=True):
            # Requests of one type differ by seed alone, so names may repeat; each counts once.
            failed += bool(reply.error)
            type = request.id.rsplit("/", 1)[0]
            for text in self._texts(request, reply):
                name = self._name(text, type)
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
        """Builds the source of names for one round.

        Args:
            new: Invented names by type.
            pool: The rows so far; the names of accepted ones are known.
            mistakes: Errors of the student.
            outcomes: Predictions of the student; the names it got right serve easy texts.
        """
        # All names known so far.
        grown = _by_type((row.text, row.target) for row in pool if row.accepted and not row.given)
        known = {
            name
            for names in (*self._gold.values(), *grown.values(), *new.values())
            for name in names
        }
        # Errors, under the type a hard text about them is requested for.
        wrong: dict[str, list[Name]] = {}
        for one in mistakes:
            if one.right:
                wrong.setdefault(one.right, []).append(Name(one.words, one.right))
            # Invented entities become "O" names, unless they are names elsewhere: then the teacher
            # may have overlooked them here.
            elif one.words not in known and self._may_be_none(one.words):
                wrong.setdefault(one.predicted, []).append(Name(one.words, OUTSIDE))
        # Entities the student marked exactly as the target does.
        right = _by_type(
            (one.text, write_spans({*read_spans(one.target)} & {*read_spans(one.predicted)}))
            for one in outcomes
        )
        return Picker(self._gold, grown, new, wrong, right, self._invented)

    def _may_be_none(self, words: str) -> bool:
        """Returns False for words no sentence can continue from."""
        return (
            any(letter.isalpha() for letter in words) and len(words.split(" ")) <= self._max_words
        )

    @staticmethod
    def _texts(request: GenerateRequest, reply: Reply) -> list[str]:
        if not request.json_schema or reply.error:
            return [reply.text]
        try:
            return list_of(reply.text, _FIELD, request.json_schema)
        except ValueError:
            return []

    def _name(self, text: str, type: str) -> str:
        found = strip_artefacts(text, _LINE)
        if found.fault:
            return ""
        line = found.text.strip(" .,;:。，；：")
        # Drop remarks behind the name: "NAME - a writer", "NAME (1912)", "NAME, who".
        for cut in (" - ", ":", "(", ",", ";", "：", "（", "，", "；"):
            line = line.split(cut)[0].strip()
        line = clean(line)  # for quotes around the name alone
        name = joined(line, split_words(line))
        words = name.split(" ")
        # Where characters are words, names have more of them.
        longest = self._max_words * (2 if counts_in_characters([name]) else 1)
        return name if len(words) <= longest and self._may_be_name(words, type) else ""

    def _may_be_name(self, words: Sequence[str], type: str) -> bool:
        """Whether words have a capital, where the names of the type have."""
        gold = self._gold.get(type, [])
        capitals = any(word[:1].isupper() for word in words)
        # Many scripts have no capitals, and some types neither ("aspirin").
        has_case = any(letter.isupper() or letter.islower() for word in words for letter in word)
        usual = all(any(word[:1].isupper() for word in name.split(" ")) for name in gold)
        letters = any(letter.isalpha() for word in words for letter in word)
        return letters and (capitals or not has_case or not usual)


class Picker:
    """Draws one name after the other for the texts of a round.

    Args:
        gold: Names of the shots, by type.
        grown: Names of accepted rows, by type.
        new: Invented names by type; each is drawn once before it may repeat.
        wrong: Errors of the student, by requested type.
        right: Names the student got right, by type.
        invented: Share of texts around a new name, in [0, 1].
    """

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
        # A copy, since picking empties the lists of new names.
        self._invented_so_far = {type: tuple(names) for type, names in new.items()}
        self._wrong = wrong
        self._right = right
        self._invented = invented

    def pick(self, type: str, kind: str, rng: random.Random) -> Name:
        """Draws the name for one text.

        Args:
            type: The requested entity type.
            kind: "hard" or "easy".
            rng: Makes the draws.

        Returns:
            A name of the type, or an error of the student; empty words if no name is known.
        """
        # Half of the hard texts: an error of the student.
        first = rng.random()
        if kind == "hard" and (wrong := self._wrong.get(type)) and first < 0.5:
            return rng.choice(wrong)
        # A new name, each of them once.
        if (fresh := self._new.get(type)) and rng.random() < self._invented:
            return Name(fresh.pop(rng.randrange(len(fresh))), type)
        # A known name: for an easy text preferably one the student got right. Without any other
        # name, as in a run without gold, the invented ones serve again.
        easy = self._right.get(type) if kind == "easy" else None
        known = (
            easy or self._known.get(type) or self._new.get(type) or self._invented_so_far.get(type)
        )
        return Name(rng.choice(known) if known else "", type)


def _by_type(texts: Any) -> dict[str, list[str]]:
    # Dictionaries as ordered sets: the order of names decides random draws.
    found: dict[str, dict[str, None]] = {}
    for text, target in texts:
        for mention, type in mentions_of(text, target):
            found.setdefault(type, {})[mention] = None
    return {type: list(names) for type, names in found.items()}
