"""Question: in which way should a teacher be asked for labels?

    python benchmarks/ways_of_asking.py --data ../data [--teachers embedded qwen2.5-coder-0.5b]
        [--sets snips trec6 wikigold] [--shots 0 1 5] [--texts 60] [-- labelling.allow_codes=false]
    python benchmarks/ways_of_asking.py --tables

The teacher alone labels texts of test, by a text to continue (completion) and in messages (chat),
with demonstrations and without, under every calibration; entities by *verify* and by *extract*.
Everything else has its default. A line of ``cells.jsonl`` in ``--folder`` is a teacher, a set, a
way and a number of shots; lines that are there are not measured again, and replies are cached, so
an interrupted benchmark goes on where it was. All calibrations of a line read the same replies.
``--tables`` prints the lines as Markdown. ``--data`` has the sets as benchmarks/data_sets.py
describes, and inshorts/, imdb5k/, banking77/ and bc5cdr/.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from data_sets import CLASSES, ENTITIES, MORE_CLASSES, MORE_ENTITIES, overrides_of
from runs import read_lines

from tutelage.config.build import build_dataset
from tutelage.config.build_student import build_encoder
from tutelage.config.build_teacher import build_stack
from tutelage.config.compose import compose_config
from tutelage.config.schema import BudgetConfig
from tutelage.data.dataset import Dataset
from tutelage.errors import ConfigError, TeacherError
from tutelage.labelling.showing import Embed
from tutelage.teacher.stack import Stack
from tutelage.tune_prompt import CALIBRATIONS, Answers, Judged, ask

_TEACHERS = {
    "embedded": "SmolLM2-135M",
    "qwen2.5-coder-0.5b": "Qwen2.5-Coder-0.5B",
    "qwen2.5-coder-1.5b": "Qwen2.5-Coder-1.5B",
}
_WAYS = ("completion", "chat")
_DRAWS = 200
"""Number of bootstrap samples behind a standard error."""


class Cell(NamedTuple):
    """A way of asking a teacher about a set.

    Attributes:
        teacher: ``teacher.model``.
        dataset: Name of the set.
        labelling: The option of the group ``labelling``.
        way: The option of the group ``prompt``.
        shots: Shots per class or type.
        texts: Number of texts to label.
    """

    teacher: str
    dataset: str
    labelling: str
    way: str
    shots: int
    texts: int

    @property
    def overrides(self) -> list[str]:
        """What it sets."""
        return [f"labelling={self.labelling}", f"prompt={self.way}", f"shots={self.shots}"]


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurement of a cell.

    Attributes:
        cell: The cell.
        scores: Accuracy, or strict entity F1, in [0, 1], by calibration.
        errors: Their standard errors.
        tokens: Billed tokens per text, without the texts that contextual calibration asks about.
        failed: Number of texts without an answer; they count as wrong.
        seconds: Wall time; little where the replies were in the cache.
    """

    cell: Cell
    scores: dict[str, float]
    errors: dict[str, float]
    tokens: float
    failed: int
    seconds: float


def measure(
    cells: Sequence[Cell],
    teacher: Sequence[str],
    data: Callable[[str], Sequence[str]],
    folder: Path,
) -> None:
    """Measures the cells of one teacher that ``folder`` does not have yet.

    Args:
        cells: The cells.
        teacher: The overrides that choose the teacher, and others of every measurement.
        data: Returns the overrides that choose a data set.
        folder: Folder for cells.jsonl and the cache.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = {one.cell for one in read(folder)}
    if not (cells := [cell for cell in cells if cell not in known]):
        return
    given = [*teacher, f"teacher.cache={folder}/replies.sqlite"]
    first = compose_config([*data(cells[0].dataset), *given])
    stack = build_stack(replace(first, budget=BudgetConfig(None)), folder)
    try:
        stack.begin(print)
        sets: dict[str, Dataset] = {}
        embed = build_encoder(first)
        for cell in cells:
            own = [*data(cell.dataset), *given, *cell.overrides]
            if cell.dataset not in sets:
                sets[cell.dataset] = build_dataset(compose_config(own))
            try:
                found = _measured(cell, own, sets[cell.dataset], stack, embed)
            except (ConfigError, TeacherError) as error:
                print(f"{cell}: {error}", flush=True)
                continue
            with (folder / "cells.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(found)) + "\n")
            print(*cell, _percent(found.scores), f"{found.tokens:.0f} tokens", flush=True)
    finally:
        stack.close()


def _measured(
    cell: Cell, overrides: Sequence[str], dataset: Dataset, stack: Stack, embed: Embed
) -> Measured:
    began, answers = time.perf_counter(), {}
    for calibration in CALIBRATIONS:
        config = compose_config([*overrides, f"calibration={calibration}"])
        texts = random.Random(config.seed).sample(dataset.test, min(cell.texts, len(dataset.test)))
        judged = Judged(tuple(texts), tuple(dataset.shots(cell.shots, config.seed)), "dev")
        answers[calibration] = ask(config, dataset, judged, stack, embed)
    return Measured(
        cell,
        {name: one.score for name, one in answers.items()},
        {name: _standard_error(one) for name, one in answers.items()},
        answers["none"].tokens,
        answers["none"].failed,
        time.perf_counter() - began,
    )


def _standard_error(answers: Answers) -> float:
    """Bootstrap over the texts."""
    count, draw = len(answers.opinions), np.random.default_rng(0)
    drawn = [answers.score_of(draw.integers(count, size=count)) for _ in range(_DRAWS)]
    return float(np.std(drawn))


def read(folder: Path) -> list[Measured]:
    """The cells that were measured."""
    path = folder / "cells.jsonl"
    lines = read_lines(path) if path.exists() else []
    return [Measured(**{**line, "cell": Cell(*line["cell"])}) for line in lines]


def _percent(shares: dict[str, float]) -> str:
    # What a calibration does not change is said once.
    rounded = [f"{100 * shares[name]:.0f}" for name in CALIBRATIONS]
    return "/".join(rounded if len({*shares.values()}) > 1 else rounded[:1])


def by_set(found: Sequence[Measured], sets: Sequence[str], *, errors: bool) -> Iterator[str]:
    """A table of one column per set, under all calibrations.

    Args:
        found: Cells with the same number of shots.
        sets: The sets, in order; those without a cell are left out.
        errors: Whether the largest standard error follows the scores.
    """
    sets = [name for name in sets if any(one.cell.dataset == name for one in found)]
    rows: dict[str, dict[str, Measured]] = {}
    for one in sorted(found, key=lambda one: (_size(one.cell.teacher), *one.cell)):
        rows.setdefault(_title(one.cell), {})[one.cell.dataset] = one
    # Texts of some sets are longer, so rows are compared over the sets that all of them have.
    common = [name for name in sets if all(name in own for own in rows.values())]
    yield f"| | tokens a text, mean of {len(common)} | {' | '.join(sets)} |"
    yield "|---" * (2 + len(sets)) + "|"
    for title, own in rows.items():
        tokens = f"{statistics.mean(own[name].tokens for name in common):.0f}" if common else ""
        scores = [_shown(own.get(name), errors) for name in sets]
        yield f"| {title} | {tokens} | {' | '.join(scores)} |"


def _size(teacher: str) -> int:
    """Rank of a teacher; unknown ones come last."""
    return [*_TEACHERS, teacher].index(teacher)


def _title(cell: Cell) -> str:
    labelling = "" if cell.labelling == "text" else f"{cell.labelling}, "
    return f"{_TEACHERS.get(cell.teacher, cell.teacher)}, {labelling}{cell.way}"


def _shown(one: Measured | None, errors: bool) -> str:
    if one is None:
        return ""
    error = f" ± {100 * max(one.errors.values()):.0f}" if errors else ""
    return _percent(one.scores) + error + (f", {one.failed} failed" if one.failed else "")


def means(found: Sequence[Measured]) -> Iterator[str]:
    """A table of the means over the first six classification sets, where all are measured."""
    yield f"| teacher | shots |{''.join(f' {way} | tokens |' for way in _WAYS)}"
    yield "|---" * 6 + "|"
    kinds = {(one.cell.teacher, one.cell.shots) for one in found}
    for teacher, shots in sorted(kinds, key=lambda kind: (_size(kind[0]), kind)):
        parts = []
        for way in _WAYS:
            own = [
                one
                for one in found
                if (one.cell.teacher, one.cell.shots, one.cell.way) == (teacher, shots, way)
                and one.cell.dataset in CLASSES
            ]
            parts.append(_mean(own) if len(own) == len(CLASSES) else " |")
        if any(part != " |" for part in parts):
            yield f"| {_TEACHERS.get(teacher, teacher)} | {shots} | {' | '.join(parts)} |"


def _mean(found: Sequence[Measured]) -> str:
    scores = {name: statistics.mean(one.scores[name] for one in found) for name in CALIBRATIONS}
    error = sum(one.errors["none"] ** 2 for one in found) ** 0.5 / len(found)
    tokens = statistics.mean(one.tokens for one in found)
    return f"{_percent(scores)} ± {100 * error:.0f} | {tokens:.0f}"


def _print(found: Sequence[Measured], classes: Sequence[str], entities: Sequence[str]) -> None:
    titles = "/".join(CALIBRATIONS)
    for title, sets in (("Accuracy", classes), ("Strict F1", entities)):
        for shots in sorted({one.cell.shots for one in found if one.cell.dataset in sets}):
            own = [one for one in found if one.cell.dataset in sets and one.cell.shots == shots]
            print(f"{title}, {titles}, {shots} shots\n")
            print(*by_set(own, sets, errors=sets is entities), "", sep="\n")
    print(f"Mean accuracy, {titles} ± standard error\n", *means(found), sep="\n")


def main() -> None:
    """Measures the cells, or prints them as tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    classes, entities = (*CLASSES, *MORE_CLASSES), (*ENTITIES, *MORE_ENTITIES)
    parser.add_argument("--data", type=Path, default=Path("../data"))
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-ways"))
    parser.add_argument("--teachers", nargs="+", default=[*_TEACHERS])
    parser.add_argument(
        "--sets", nargs="+", default=[*classes, *entities], choices=[*classes, *entities]
    )
    parser.add_argument("--ways", nargs="+", default=_WAYS, choices=_WAYS)
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 1, 5])
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("overrides", nargs="*", help="of every measurement")
    options = parser.parse_args()
    if options.tables:
        _print(read(options.folder), classes, entities)
        return
    data = partial(overrides_of, data=options.data, folder=options.folder / "data")
    for teacher in options.teachers:
        cells = [
            Cell(teacher, dataset, labelling, way, shots, options.texts)
            for shots, dataset in product(options.shots, options.sets)
            for labelling in (("text",) if dataset in classes else ("verify", "extract"))
            for way in options.ways
        ]
        chosen = [f"teacher.model={teacher}", *options.overrides]
        measure(cells, chosen, data, options.folder)


if __name__ == "__main__":
    main()
