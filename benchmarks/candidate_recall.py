"""Claim: chunks and n-grams find the names in small letters that capitals miss, for six to nine times as many requests of *verify*.

    python benchmarks/candidate_recall.py [--data ../data] [--sets wikigold conll04 wnut17] [--width 4]

For each choice of ``teacher.candidates`` without a student: the share of the gold entities of dev whose place is a candidate, and how many
candidates a sentence has. No teacher is asked. ``--data`` holds conll2004/ and wnut17/; Wikigold is in the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ner_bottleneck import lines

from tutelage.tasks.spans import from_tags
from tutelage.teacher.candidates import Candidates

_WIKIGOLD = Path(__file__).parents[1] / "src" / "tutelage" / "data" / "samples" / "wikigold" / "dev.jsonl"
_CHOICES = ((0, "capitals"), (2, "capitals"), (0, "chunks"), (0, "ngrams"), (0, "capitals,chunks"), (0, "capitals,ngrams"))
"""``teacher.candidate_parts`` and ``teacher.candidates``."""


def dev_of(dataset: str, data: Path) -> Path:
    """The file of a data set's dev sentences."""
    return _WIKIGOLD if dataset == "wikigold" else data / {"conll04": "conll2004"}.get(dataset, dataset) / "validation.jsonl"


def main() -> None:
    """Print recall in % and candidates a sentence: a line a choice, a column a data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../data"))
    parser.add_argument("--sets", nargs="+", default=["wikigold", "conll04", "wnut17"])
    parser.add_argument("--width", type=int, default=4, help="teacher.candidate_width")
    options = parser.parse_args()
    dev = {name: lines(dev_of(name, options.data)) for name in options.sets}
    print(f"{'teacher.candidates':30s}" + "".join(f" {name + f' ({len(records):,})':>18s}" for name, records in dev.items()))
    for parts, sources in _CHOICES:
        candidates, columns = Candidates(parts, sources.split(","), options.width), ""
        for records in dev.values():
            gold = [{span[:2] for span in from_tags(record["tags"])} for record in records]
            found = [set(candidates(record["tokens"])) for record in records]
            right = sum(len(own & said) for own, said in zip(gold, found, strict=True))
            recall, each = right / sum(map(len, gold)), sum(map(len, found)) / len(records)
            columns += f" {f'{100 * recall:.1f} % / {each:.1f}':>18s}"
        print(f"[{sources}]{f' parts {parts}' if parts else '':{28 - len(sources)}s}{columns}")


if __name__ == "__main__":
    main()
