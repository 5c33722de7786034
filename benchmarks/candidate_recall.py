"""Question: how many entities does each source of span candidates find, and for how many requests?

    python benchmarks/candidate_recall.py [--data ../data] [--sets wikigold conll04] [--shots 5]

For each choice of ``labelling.candidates``: the share of the gold entities of dev whose position is
a candidate, and the number of candidates per sentence, each of which *verify* asks about. The
student knows the shots alone (seed 1); it is trained if its run is not in the folder. No teacher is
asked. ``--data`` has conll2004/, wnut17/ and bc5cdr/; Wikigold is in the package.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_sets import ENTITIES, MORE_ENTITIES, folder_of, overrides_of
from runs import read_lines, train

from tutelage.labelling.ner_candidates import Place, SpanCandidates
from tutelage.records import Label
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.loading import load_student
from tutelage.student.losses.protocol import UnitLoss
from tutelage.student.module import StudentModule
from tutelage.student.pool_view import StudentPoolView
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import from_tags

_SETS = (*ENTITIES, *MORE_ENTITIES)
_SAMPLES = Path(__file__).parents[1] / "src" / "tutelage" / "data" / "samples"
_CHOICES = (
    (0, "capitals"),
    (2, "capitals"),
    (0, "chunks"),
    (0, "ngrams"),
    (0, "capitals,chunks"),
    (0, "capitals,ngrams"),
    (0, "capitals,student"),
    (0, "capitals,chunks,student"),
)
"""``labelling.candidate_parts`` and ``labelling.candidates``."""


def dev_of(dataset: str, data: Path) -> Path:
    """The file with the dev sentences of a data set."""
    if dataset == "wikigold":
        return _SAMPLES / "wikigold" / "dev.jsonl"
    return folder_of(dataset, data) / "validation.jsonl"


def proposed(run: Path, records: Sequence[dict[str, Any]]) -> list[tuple[Place, ...]]:
    """The spans that the student of a finished run proposes, per sentence."""
    network, tokenizer, length = load_student(run / "student")
    types = [tag[2:] for tag in network.config.id2label.values() if tag.startswith("B-")]
    task = NerTask([Label(type, type, type) for type in types])
    rates = {"learning_rate": 0.0, "head_learning_rate": 0.0, "weight_decay": 0.0}
    module = StudentModule(
        network, task, UnitLoss(), RateSchedule(), EveryRow(), batch_size=1, **rates
    )
    texts = [" ".join(record["tokens"]) for record in records]
    return StudentPoolView(module, tokenizer, texts, max_length=length, seed=0).proposed()


def main() -> None:
    """Prints recall in % and candidates per sentence, with one column per data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../data"))
    parser.add_argument("--sets", nargs="+", default=list(_SETS), choices=_SETS)
    parser.add_argument("--width", type=int, default=4, help="labelling.candidate_width")
    parser.add_argument("--shots", type=int, default=5, help="per type, for the student")
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-candidates"))
    options = parser.parse_args()

    # The student's proposals, from a run on the shots alone.
    dev = {name: read_lines(dev_of(name, options.data)) for name in options.sets}
    proposals = {}
    for name, records in dev.items():
        run = options.folder / f"{name}-{options.shots}-1"
        data = overrides_of(name, options.data, options.folder)
        train(run, [*data, "method=shots", f"shots={options.shots}", "seed=1"])
        proposals[name] = proposed(run, records)

    columns = "".join(f" {f'{name} ({len(records):,})':>18s}" for name, records in dev.items())
    print(f"{'labelling.candidates':30s}{columns}")
    for parts, sources in _CHOICES:
        candidates, columns = SpanCandidates(parts, sources.split(","), options.width), ""
        for name, records in dev.items():
            gold = [{span[:2] for span in from_tags(record["tags"])} for record in records]
            found = [
                set(candidates(record["tokens"], spans))
                for record, spans in zip(records, proposals[name], strict=True)
            ]
            right = sum(len(own & other) for own, other in zip(gold, found, strict=True))
            recall, each = right / sum(map(len, gold)), sum(map(len, found)) / len(records)
            columns += f" {f'{100 * recall:.1f} % / {each:.1f}':>18s}"
        print(f"{f'[{sources}]' + (f' parts {parts}' if parts else ''):30s}{columns}")


if __name__ == "__main__":
    main()
