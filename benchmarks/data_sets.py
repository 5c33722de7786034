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
MORE_CLASSES = ("inshorts", "imdb", "banking77", "amazon")
"""Further sets, that only some benchmarks measure."""
MORE_ENTITIES = ("bc5cdr",)
_FOLDERS = {"conll04": "conll2004", "imdb": "imdb5k"}
"""Folders that are not called like their set."""
_AMAZON = (
    *("instant video", "Android apps", "automotive", "baby", "beauty", "books", "CDs and vinyl"),
    *("mobile phones", "clothing", "digital music", "electronics", "grocery", "health care"),
    *("home and kitchen", "Kindle books", "DVDs and films", "musical instruments"),
    *("office products", "garden", "pet supplies", "sports and outdoors", "tools", "toys"),
    "video games",
)
"""Words of classes that the set numbers, as the loader of Bao et al. 2020 names them."""
_BC5CDR = (
    "data.name=bc5cdr",
    "data.labels={Chemical: {word: chemical, description: 'drugs and other chemicals'}, "
    "Disease: {word: disease, description: 'diseases, symptoms and side effects'}}",
)
_ROWS = {"train": 2000, "validation": 200, "test": 500}


def cut(dataset: str, data: Path, folder: Path) -> Path:
    """Writes the rows of a set that the benchmarks use, and returns their folder."""
    own = folder / dataset
    own.mkdir(parents=True, exist_ok=True)
    for name, rows in _ROWS.items():
        file = own / f"{name}.jsonl"
        if not file.exists():
            lines = (folder_of(dataset, data) / file.name).read_text().splitlines(keepends=True)
            random.Random(13).shuffle(lines)
            file.write_text("".join(lines[:rows]))
    return own


def overrides_of(dataset: str, data: Path, folder: Path) -> list[str]:
    """The overrides that choose a data set.

    Args:
        dataset: One of ``CLASSES``, ``ENTITIES``, ``MORE_CLASSES`` or ``MORE_ENTITIES``.
        data: The folder with all data sets.
        folder: Where cut sets are written.
    """
    if dataset == "snips":
        return ["data=snips"]
    if dataset in (*CLASSES, *MORE_CLASSES):
        own = ["data=files", *_amazon()] if dataset == "amazon" else [f"data={dataset}"]
        return [*own, f"data.path={cut(dataset, data, folder)}"]
    if dataset == "wikigold":
        return ["task=ner", "data=wikigold"]
    if dataset == "bc5cdr":
        return ["task=ner", "data=files", f"data.path={cut(dataset, data, folder)}", *_BC5CDR]
    return ["task=ner", f"data={dataset}", f"data.path={folder_of(dataset, data)}"]


def _amazon() -> list[str]:
    labels = ", ".join(
        f"{number}: {{word: '{word}', description: 'reviews of products in {word}'}}"
        for number, word in enumerate(_AMAZON)
    )
    return ["data.name=amazon", "data.cue=Category", f"data.labels={{{labels}}}"]


def folder_of(dataset: str, data: Path) -> Path:
    """The folder of a set; CoNLL04's is called conll2004, and IMDB's imdb5k."""
    return data / _FOLDERS.get(dataset, dataset)


def main() -> None:
    """Cuts the chosen sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-data"))
    sets = (*CLASSES[1:], *MORE_CLASSES)
    parser.add_argument("--sets", nargs="+", default=CLASSES[1:], choices=sets)
    options = parser.parse_args()
    for dataset in options.sets:
        print(cut(dataset, options.data, options.folder))


if __name__ == "__main__":
    main()
