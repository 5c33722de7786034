"""The NER counterpart of :mod:`tests.helpers.tiny`: invented sentences and a tiny student."""

from __future__ import annotations

import random
from pathlib import Path

from tests.helpers.ner_teacher import DESCRIPTIONS, FIRST, LAST, WORDS, make_name
from tests.helpers.tiny import EVOKD, scripted, write_jsonl
from tests.helpers.tiny_student import tiny_encoder

EVOKD_NER = (*EVOKD, "training.start_epochs=40", "training.round_epochs=6")
"""Overrides of two small EvoKD rounds; tags take more epochs to learn than classes."""

TYPES = {"PER": "person", "LOC": "place", "ORG": "organization"}


def ner_data(folder: Path, train: int = 24, validation: int = 10, test: int = 16) -> Path:
    """Writes a data folder of tagged sentences, with none, one or two names in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        records: list[dict[str, object]] = []
        for number in range(count):
            tokens, tags = rng.sample(WORDS, 4), ["O"] * 4
            for name in rng.sample(sorted(TYPES), number % 3):
                tokens += [*make_name(TYPES[name], rng).split(" "), *rng.sample(WORDS, 3)]
                tags += [f"B-{name}", f"I-{name}", "O", "O", "O"]
            records.append({"tokens": tokens, "tags": tags})
        write_jsonl(folder / f"{split}.jsonl", records)
    return folder


def ner_student(folder: Path) -> Path:
    """A tiny BERT whose vocabulary has every word of the small data."""
    known = [*WORDS, *LAST, *(word for words in FIRST.values() for word in words)]
    return tiny_encoder(folder, words=[word.lower() for word in known])


def scripted_ner(student: Path, data: Path, cache: Path, **teacher: object) -> list[str]:
    """Overrides of an NER run, like :func:`tests.helpers.tiny.scripted` for classification."""
    labels = ",".join(
        f"{name}:{{word:{word},description:{DESCRIPTIONS[word]}}}" for name, word in TYPES.items()
    )
    return [
        "task=ner",
        *scripted(student, data, cache, **teacher),
        "teacher._target_=tests.helpers.ner_teacher.NameTeacher",
        f"data.labels={{{labels}}}",
    ]
