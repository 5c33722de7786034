"""The data sets of the benchmarks by name; as a script: cuts the rows that they use.

    python benchmarks/data_sets.py --data ../data --folder cut [--sets trec6 emotion]
    tutelage train -m sweep=llkd_arms data=trec6,emotion 'data.path=cut/${data.name}'

Of each classification set at most 2,000 training texts, 200 dev and 500 test texts are used, drawn
with seed 13, so that near duplicates are not searched among rows without a use. ``--data`` has a
folder per set with train, validation and test.jsonl; SNIPS and Wikigold are in the package.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

CLASSES = ("snips", "trec6", "sst2", "ag_news", "emotion", "csabstruct")
ENTITIES = ("wikigold", "conll04", "wnut17")
_ROWS = {"train": 2000, "validation": 200, "test": 500}


def cut(dataset: str, data: Path, folder: Path) -> Path:
    """Writes the rows of a classification set that the benchmarks use, and returns their folder."""
    own = folder / dataset
    own.mkdir(parents=True, exist_ok=True)
    for name, rows in _ROWS.items():
        file = own / f"{name}.jsonl"
        if not file.exists():
            lines = (data / dataset / file.name).read_text().splitlines(keepends=True)
            random.Random(13).shuffle(lines)
            file.write_text("".join(lines[:rows]))
    return own


def overrides_of(dataset: str, data: Path, folder: Path) -> list[str]:
    """The overrides that choose a data set.

    Args:
        dataset: One of ``CLASSES`` or ``ENTITIES``.
        data: The folder with all data sets.
        folder: Where cut sets are written.
    """
    if dataset == "snips":
        return ["data=snips"]
    if dataset in CLASSES:
        return [f"data={dataset}", f"data.path={cut(dataset, data, folder)}"]
    if dataset == "wikigold":
        return ["task=ner", "data=wikigold"]
    return ["task=ner", f"data={dataset}", f"data.path={entity_folder(dataset, data)}"]


def entity_folder(dataset: str, data: Path) -> Path:
    """The folder of an entity set; CoNLL04's is called conll2004."""
    return data / {"conll04": "conll2004"}.get(dataset, dataset)


def main() -> None:
    """Cuts the chosen sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-data"))
    parser.add_argument("--sets", nargs="+", default=CLASSES[1:], choices=CLASSES[1:])
    options = parser.parse_args()
    for dataset in options.sets:
        print(cut(dataset, options.data, options.folder))


if __name__ == "__main__":
    main()
