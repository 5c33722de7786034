"""A student and a data set so small that a whole run takes a second or two."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.helpers.teachers import KEYWORDS

if TYPE_CHECKING:
    from tutelage.teacher.base import Reply
    from tutelage.timeline import Position

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
"""The shipped sample's labels, and the words that the small data set has for them."""


def write_jsonl(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text(
        "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records),
        encoding="utf-8",
    )
    return path


def small_data(folder: Path, train: int = 12, validation: int = 4, test: int = 6) -> Path:
    """So many texts of each class from the shipped sample; the labels are the words that the scripted teacher knows."""
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
    """A tiny BERT that knows the small data's most frequent words."""
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
    """Overrides of a run with the tiny student, the small data and the scripted teacher; ``teacher`` are the teacher's own settings."""
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
"""EvoKD of two small rounds."""


class Silent:
    """A watcher that shows nothing."""

    def phase(self, name: str, round: int, total: int) -> None:
        pass

    def reply(self, reply: Reply) -> None:
        pass

    def progress(self, done: int, total: int) -> None:
        pass

    def stage_closed(self, position: Position, dev: dict[str, Any], rows: tuple[int, int]) -> None:
        pass


def grow(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """One run in ``path`` without Hydra's job, display and report; its result."""
    from tutelage.config.compose import compose_config
    from tutelage.run import run

    config = compose_config(overrides)
    return run(config, path, Silent(), "the command that goes on", resume=bool(config.resume))


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def accuracies(folder: Path) -> list[tuple[int, float, float | None]]:
    """Round, dev and test accuracy of each line of a run's metrics; None where test was not looked at."""
    found = lines(folder / "metrics.jsonl")
    return [
        (line["round"], line["dev"]["accuracy"], line["test"] and line["test"]["accuracy"])
        for line in found
    ]


def undrawn(folder: Path) -> Path:
    """Stands in for the report of a run, whose figures take several times as long as the run; the report has tests of its own."""
    page = folder / "report.html"
    page.write_text("not drawn in this test\n", encoding="utf-8")
    return page
