"""What tests/tiny.py is to classification, for NER: a data set of made-up sentences, a student that knows its words, and a run's overrides."""

from __future__ import annotations

import random
from pathlib import Path

from tests.helpers.ner_teacher import DESCRIPTIONS, FIRST, LAST, WORDS, a_name
from tests.helpers.tiny import EVOKD, scripted, write_jsonl
from tests.helpers.tiny_student import tiny_encoder

EVOKD_NER = (*EVOKD, "training.start_epochs=40", "training.round_epochs=6")
"""EvoKD of two small rounds; tags take this student longer than topics."""

TYPES = {"PER": "person", "LOC": "place", "ORG": "organization"}


def ner_data(folder: Path, train: int = 24, validation: int = 10, test: int = 16) -> Path:
    """So many sentences of words and tags in each split, every third one without a name, the others with one or two."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        records: list[dict[str, object]] = []
        for number in range(count):
            tokens, tags = rng.sample(WORDS, 4), ["O"] * 4
            for name in rng.sample(sorted(TYPES), number % 3):
                tokens += [*a_name(TYPES[name], rng).split(" "), *rng.sample(WORDS, 3)]
                tags += [f"B-{name}", f"I-{name}", "O", "O", "O"]
            records.append({"tokens": tokens, "tags": tags})
        write_jsonl(folder / f"{split}.jsonl", records)
    return folder


def ner_student(folder: Path) -> Path:
    """A tiny BERT that knows every word of the small data."""
    known = [*WORDS, *LAST, *(word for words in FIRST.values() for word in words)]
    return tiny_encoder(folder, words=[word.lower() for word in known])


def scripted_ner(student: Path, data: Path, cache: Path, **teacher: object) -> list[str]:
    """Overrides of an NER run with the tiny student, the small data and the scripted teacher, as :func:`tests.helpers.tiny.scripted` for the rest."""
    labels = ",".join(
        f"{name}:{{word:{word},description:{DESCRIPTIONS[word]}}}" for name, word in TYPES.items()
    )
    return [
        "task=ner",
        *scripted(student, data, cache, **teacher),
        "teacher._target_=tests.helpers.ner_teacher.NameTeacher",
        f"data.labels={{{labels}}}",
    ]
