"""A tiny student and a small data set, for whole runs of one or two seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.teachers import KEYWORDS

SAMPLE = Path(__file__).parents[2] / "src" / "tutelage" / "data" / "samples" / "snips_intent"
WORDS = {
    "AddToPlaylist": "playlist",
    "BookRestaurant": "restaurant",
    "GetWeather": "weather",
    "PlayMusic": "music",
    "RateBook": "rating",
    "SearchCreativeWork": "search",
    "SearchScreeningEvent": "cinema",
}
"""Labels of the shipped sample, and their names in the small data set."""


def write_jsonl(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text(
        "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records),
        encoding="utf-8",
    )
    return path


def small_data(folder: Path, train: int = 12, validation: int = 4, test: int = 6) -> Path:
    """Writes a data folder from the shipped sample, with the labels of the scripted teacher.

    ``train``, ``validation`` and ``test`` are numbers of texts per class.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, source, count in (
        ("train", "pool", train),
        ("validation", "dev", validation),
        ("test", "test", test),
    ):
        kept: dict[str, list[dict[str, object]]] = {word: [] for word in WORDS.values()}
        for line in (SAMPLE / f"{source}.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if len(kept[WORDS[record["label"]]]) < count:
                kept[WORDS[record["label"]]].append(
                    {"text": record["text"], "label": WORDS[record["label"]]}
                )
        write_jsonl(
            folder / f"{split}.jsonl", [record for records in kept.values() for record in records]
        )
    return folder


def tiny_student(folder: Path) -> Path:
    """A tiny BERT whose vocabulary has the most frequent words of the small data."""
    from tests.helpers.tiny_student import tiny_encoder

    words: dict[str, int] = {}
    for line in (SAMPLE / "pool.jsonl").read_text(encoding="utf-8").splitlines():
        for word in json.loads(line)["text"].lower().split():
            words[word] = words.get(word, 0) + 1
    frequent = sorted(words, key=lambda word: (-words[word], word))[:300]
    return tiny_encoder(
        folder, words=[*(word for keys in KEYWORDS.values() for word in keys), *frequent]
    )


def scripted(student: Path, data: Path, cache: Path, **teacher: object) -> list[str]:
    """Overrides of a run with the tiny student, the small data and the scripted teacher.

    ``teacher`` are settings of the teacher.
    """
    return [
        "data=files",
        f"data.path={data}",
        "teacher=local",
        "teacher._target_=tests.helpers.teachers.LabelWritingTeacher",
        f"teacher.cache={cache}",
        *(f"+teacher.{key}={value}" for key, value in teacher.items()),
        f"student.model={student}",
        "student.learning_rate=1e-2",
        "student.head_learning_rate=3e-2",
        "student.max_length=32",
        "trainer.accelerator=cpu",
        "threads=1",
    ]


EVOKD = (
    "method.rounds=2",
    "method.n_hard=7",
    "method.n_easy=7",
    "training.start_epochs=6",
    "training.round_epochs=2",
    "training.final_epochs=1",
)
"""Overrides of two small EvoKD rounds."""


def grow(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Runs in ``path`` without Hydra's job, display and report; returns the result."""
    from tutelage.config.compose import compose_config
    from tutelage.progress import NoProgress
    from tutelage.run import run

    config = compose_config(overrides)
    return run(config, path, NoProgress(), "the resume command", resume=bool(config.resume))


def lines(path: Path) -> list[dict[str, Any]]:
    """Reads a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def accuracies(folder: Path) -> list[tuple[int, float, float | None]]:
    """Round, dev accuracy and test accuracy (None if not measured) per line of metrics.jsonl."""
    found = lines(folder / "metrics.jsonl")
    return [
        (line["round"], line["dev"]["accuracy"], line["test"] and line["test"]["accuracy"])
        for line in found
    ]


def skip_report(folder: Path) -> Path:
    """Stands in for ``write_report``, which takes several times as long as a small run."""
    page = folder / "report.html"
    page.write_text("not drawn in this test\n", encoding="utf-8")
    return page
