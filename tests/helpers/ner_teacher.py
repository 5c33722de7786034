"""A scripted teacher for whole NER runs.

Hydra builds it with ``teacher=local teacher._target_=tests.helpers.ner_teacher.NameTeacher``.
"""

from __future__ import annotations

import json
import random
import re
import zlib

from tests.helpers.teachers import LabelWritingTeacher, explained

from tutelage.teacher.base import GenerateRequest, ScoreRequest

FIRST: dict[str, tuple[str, ...]] = {
    "person": (
        "Ada",
        "Boris",
        "Clara",
        "Dmitri",
        "Edith",
        "Felix",
        "Greta",
        "Hugo",
        "Ines",
        "Jonas",
    ),
    "place": ("Port", "Lake", "Mount", "Fort", "Upper", "Lower", "Cape", "Saint", "Glen", "Old"),
    "organization": (
        "United",
        "Royal",
        "General",
        "First",
        "Allied",
        "Central",
        "Federal",
        "Global",
        "Pacific",
        "Modern",
    ),
}
"""First words of names by type word; they determine the type."""

LAST = (
    "Amber",
    "Birch",
    "Cedar",
    "Dune",
    "Ember",
    "Fjord",
    "Grove",
    "Heath",
    "Islet",
    "Jetty",
    "Knoll",
    "Ledge",
    "Marsh",
    "Pier",
    "Quay",
)
DESCRIPTIONS = {"person": "people", "place": "places", "organization": "organizations"}
WORDS = (
    "was",
    "seen",
    "near",
    "the",
    "old",
    "river",
    "for",
    "many",
    "years",
    "and",
    "then",
    "left",
    "with",
    "a",
    "small",
    "group",
    "of",
    "friends",
)

_SLIPS = 0.15
"""Share of names scored as another type, of sentences losing the name, and of empty ones."""


def make_name(type: str, rng: random.Random) -> str:
    """A random name of a type, given the type word."""
    return f"{rng.choice(FIRST[type])} {rng.choice(LAST)}"


def type_of(name: str) -> str:
    """The type word of a whole name, "none" for anything else."""
    words = name.split(" ")
    known = [type for type, firsts in FIRST.items() if words[0] in firsts]
    return known[0] if known and len(words) == 2 and words[1] in LAST else "none"


class NameTeacher(LabelWritingTeacher):
    """Types names by their first word, invents names, and continues sentences.

    Half of the sentences get a second name. Replies depend on the request alone. Takes the settings
    of :class:`tests.helpers.teachers.LabelWritingTeacher`.
    """

    @property
    def fingerprint(self) -> str:
        return "names:1"

    def _scores(self, request: ScoreRequest) -> tuple[float, ...]:
        text, mention = request.prompt.splitlines()[-2:]
        rng = random.Random(f"{text} {mention}")
        believed = type_of(mention.removeprefix('"').removesuffix('" is a name of:'))
        if believed != "none" and rng.random() < _SLIPS:
            believed = rng.choice(sorted(FIRST))
        token = zlib.crc32(believed.encode())
        return tuple(
            -4.0 + 3.5 * (choice == token) + 0.2 * rng.random() for choice in request.choices
        )

    def _text(self, request: GenerateRequest) -> str:
        rng = random.Random(f"{request.seed} {request.prompt}")
        if explanations := explained(request):
            return explanations
        if request.json_schema:
            return self._extracted(request.prompt.splitlines()[-2].removeprefix("Text: "))
        if request.prompt.startswith("A random list of names of "):
            asked = (
                request.prompt.splitlines()[0]
                .removeprefix("A random list of names of ")
                .removesuffix(":")
            )
            return " " + make_name(
                next(type for type, said in DESCRIPTIONS.items() if said == asked), rng
            )
        if request.prompt.endswith("the weakness of the model is that it"):
            return f" misses names after {rng.choice(WORDS)}"
        if rng.random() < _SLIPS:
            # No leading space, so the name's last word changes.
            return f"son {' '.join(rng.sample(WORDS, 5))}"
        if rng.random() < _SLIPS:
            return ""
        words = rng.sample(WORDS, 8)
        if rng.random() < 0.5:
            words[5:5] = [make_name(rng.choice(sorted(FIRST)), rng)]
        return f" {' '.join(words)} ."

    @staticmethod
    def _extracted(text: str) -> str:
        pairs = re.findall(r"(?=\b(\w+ \w+)\b)", text)
        names = dict.fromkeys(pair for pair in pairs if type_of(pair) != "none")
        return json.dumps(
            [{"quote": name, "type": type_of(name), "occurrence": 1} for name in names]
        )
