"""Claim: chunks and n-grams find names in small letters for six to nine times the requests of *verify*; a student of five shots for fewer.

    python benchmarks/candidate_recall.py [--data ../data] [--sets wikigold conll04 wnut17] [--width 4] [--shots 5]

For each choice of ``labelling.candidates``: the share of the gold entities of dev whose place is a candidate, and how many candidates a sentence
has. The student is one of the shots alone (seed 1), which is trained where its run is not in the folder yet. No teacher is asked. ``--data``
holds conll2004/ and wnut17/; Wikigold is in the package.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evokd_gain import result_of
from ner_arms import overrides_of
from ner_bottleneck import lines

from tutelage.labelling.ner_candidates import Place, SpanCandidates
from tutelage.records import Label
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.checkpoint import load_student
from tutelage.student.losses.protocol import UnitLoss
from tutelage.student.module import StudentModule
from tutelage.student.pool_view import StudentPoolView
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import from_tags

_WIKIGOLD = (
    Path(__file__).parents[1] / "src" / "tutelage" / "data" / "samples" / "wikigold" / "dev.jsonl"
)
_CHOICES = (
    *(
        (0, "capitals"),
        (2, "capitals"),
        (0, "chunks"),
        (0, "ngrams"),
        (0, "capitals,chunks"),
        (0, "capitals,ngrams"),
    ),
    *((0, "capitals,student"), (0, "capitals,chunks,student")),
)
"""``labelling.candidate_parts`` and ``labelling.candidates``."""


def dev_of(dataset: str, data: Path) -> Path:
    """The file of a data set's dev sentences."""
    return (
        _WIKIGOLD
        if dataset == "wikigold"
        else data / {"conll04": "conll2004"}.get(dataset, dataset) / "validation.jsonl"
    )


def proposed(run: Path, records: Sequence[dict[str, Any]]) -> list[tuple[Place, ...]]:
    """What a finished run's student proposes of each sentence."""
    network, tokenizer, length = load_student(run / "student")
    types = [tag[2:] for tag in network.config.id2label.values() if tag.startswith("B-")]
    task = NerTask([Label(type, type, type) for type in types])
    rates = {"learning_rate": 0.0, "head_learning_rate": 0.0, "weight_decay": 0.0}
    module = StudentModule(
        network, task, UnitLoss(), RateSchedule(), EveryRow(), batch_size=1, **rates
    )
    return StudentPoolView(
        module,
        tokenizer,
        [" ".join(record["tokens"]) for record in records],
        max_length=length,
        seed=0,
    ).proposed()


def main() -> None:
    """Print recall in % and candidates a sentence: a line a choice, a column a data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../data"))
    parser.add_argument("--sets", nargs="+", default=["wikigold", "conll04", "wnut17"])
    parser.add_argument("--width", type=int, default=4, help="labelling.candidate_width")
    parser.add_argument("--shots", type=int, default=5, help="of each type, for the student")
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-candidates"))
    options = parser.parse_args()
    dev = {name: lines(dev_of(name, options.data)) for name in options.sets}
    seen = {}
    for name, records in dev.items():
        run = options.folder / f"{name}-{options.shots}-1"
        result_of(
            run,
            [*overrides_of(name, options.data), "method=shots", f"shots={options.shots}", "seed=1"],
        )
        seen[name] = proposed(run, records)
    print(
        f"{'labelling.candidates':30s}"
        + "".join(f" {name + f' ({len(records):,})':>18s}" for name, records in dev.items())
    )
    for parts, sources in _CHOICES:
        candidates, columns = SpanCandidates(parts, sources.split(","), options.width), ""
        for name, records in dev.items():
            gold = [{span[:2] for span in from_tags(record["tags"])} for record in records]
            found = [
                set(candidates(record["tokens"], indices))
                for record, indices in zip(records, seen[name], strict=True)
            ]
            right = sum(len(own & predicted) for own, predicted in zip(gold, found, strict=True))
            recall, each = right / sum(map(len, gold)), sum(map(len, found)) / len(records)
            columns += f" {f'{100 * recall:.1f} % / {each:.1f}':>18s}"
        print(f"[{sources}]{f' parts {parts}' if parts else '':{28 - len(sources)}s}{columns}")


if __name__ == "__main__":
    main()
