"""Scripted teachers for the data sets of tests/data, in any language.

Hydra builds them with ``teacher=local teacher._target_=tests.helpers.language_teacher.ClassTeacher
+teacher.folder=…``.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.teachers import LabelWritingTeacher, read

from tutelage.tasks.spans import from_tags
from tutelage.teacher.base import GenerateRequest, Prompt, ScoreRequest

DATA = Path(__file__).parents[1] / "data"
_WORDS = (
    *("people", "after", "some", "weeks", "the", "trial", "children", "older", "men", "and"),
    *("without", "rest", "many", "a", "hospital", "near", "mice", "under", "care", "again"),
)
_TOKEN = re.compile(r"\s*\S")


def rows(folder: str, split: str) -> list[dict[str, object]]:
    """The rows of a split of one of the data sets."""
    lines = (DATA / folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _pairs(text: str) -> set[str]:
    return {text[start : start + 2] for start in range(len(text) - 1)}


class _LanguageTeacher(LabelWritingTeacher):
    """Its tokens are characters, with the white space before them.

    Args:
        folder: One of the data sets.
        settings: Settings of the replaced engine; unused.
    """

    def __init__(self, *, folder: str, **settings: object) -> None:
        super().__init__()
        self._rows = rows(folder, "train")

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        return [[zlib.crc32(one.encode()) for one in _TOKEN.findall(read(text))] for text in texts]

    def _favouring(self, request: ScoreRequest, word: str) -> tuple[float, ...]:
        ((first, *_),) = self.tokenize([f" {word}"])
        return tuple(-0.1 if choice == first else -4.0 for choice in request.choices)


class ClassTeacher(_LanguageTeacher):
    """Labels a text by its pairs of characters, and writes halves of two texts of the class."""

    @property
    def fingerprint(self) -> str:
        return "classes:1"

    def _scores(self, request: ScoreRequest) -> tuple[float, ...]:
        asked = _pairs(str(request.prompt).splitlines()[-2].removeprefix("Text: "))
        nearest = max(self._rows, key=lambda row: len(asked & _pairs(str(row["text"]))))
        return self._favouring(request, str(nearest["label"]).lower())

    def _text(self, request: GenerateRequest) -> str:
        prompt, rng = str(request.prompt), random.Random(f"{request.seed} {request.prompt}")
        labels = sorted({str(row["label"]) for row in self._rows})
        named = [label for label in labels if f"Examples of {label.lower()}" in prompt]
        if not named:
            return " mixes up two classes"
        texts = [str(row["text"]) for row in self._rows if row["label"] == named[0]]
        first, second = rng.sample(texts, 2)
        return f" {first[: len(first) // 2]}{second[len(second) // 2 :]}"


class MedicalTeacher(_LanguageTeacher):
    """Knows the names of the biomedical sentences, and continues sentences that begin with one."""

    def __init__(self, *, folder: str, **settings: object) -> None:
        super().__init__(folder=folder)
        self._types: dict[str, str] = {}
        for row in self._rows:
            text = " ".join(row["tokens"])  # type: ignore[arg-type]
            for span in from_tags(row["tags"]):  # type: ignore[arg-type]
                self._types[" ".join(text.split(" ")[span.start : span.end])] = span.type

    @property
    def fingerprint(self) -> str:
        return "medical:1"

    def _scores(self, request: ScoreRequest) -> tuple[float, ...]:
        line = str(request.prompt).splitlines()[-1]
        name = line.removeprefix('"').removesuffix('" is a name of:')
        return self._favouring(request, self._types.get(name, "none"))

    def _text(self, request: GenerateRequest) -> str:
        prompt, rng = str(request.prompt), random.Random(f"{request.seed} {request.prompt}")
        if prompt.startswith("A random list of names of "):
            asked = prompt.splitlines()[0].removeprefix("A random list of names of ")
            known = [name for name, type in self._types.items() if asked.startswith(type)]
            return f" {rng.choice(known)}"
        if prompt.endswith("the weakness of the model is that it"):
            return " misses short names"
        other = rng.choice(sorted(self._types))
        words = " ".join(rng.sample(_WORDS, 5))
        return f" was seen with {other} in {words} ."
