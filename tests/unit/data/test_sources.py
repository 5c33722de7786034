"""Samples, folders and the hub: loaded data, and one clear error for each missing thing."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from tests.unit.data.folders import folder, rows, write

from tutelage import data as data_package
from tutelage.config.compose import compose_config
from tutelage.data.dedup import normalise
from tutelage.data.sources import load_files, load_hub, load_sample
from tutelage.errors import ConfigError, DataError
from tutelage.tasks.spans import read_spans


def test_the_sample_is_whole_and_clean() -> None:
    data = load_sample("snips_intent")
    assert (len(data.pool), len(data.dev), len(data.test), len(data.labels)) == (2000, 300, 695, 7)
    assert data.dropped == {}
    assert data.notes == ()
    assert all(example.label is None for example in data.pool)
    assert len(data.pool_gold) == 2000
    assert len({example.id for example in (*data.pool, *data.dev, *data.test)}) == 2995
    forms = Counter(normalise(example.text) for example in (*data.pool, *data.dev, *data.test))
    assert max(forms.values()) == 1
    assert data.digest == load_sample("snips_intent").digest
    assert (
        load_sample("snips_intent", labels={label.name: "word" for label in data.labels}).digest
        != data.digest
    )


SAMPLES = sorted(
    path for path in (Path(data_package.__file__).parent / "samples").iterdir() if path.is_dir()
)


def test_there_are_samples() -> None:
    assert {folder.name for folder in SAMPLES} >= {"snips_intent", "wikigold"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_sample_says_where_it_is_from_and_under_which_licence(sample: Path) -> None:
    said = (sample / "SOURCE.md").read_text(encoding="utf-8")
    assert re.search(r"^- Source: https://\S+\.\S+", said, re.MULTILINE)
    assert re.search(
        r"^- Licence: (CC0 1\.0|CC BY(-SA)? [34]\.0|MIT|Apache-2\.0)\b", said, re.MULTILINE
    )


def test_an_unknown_sample_is_named() -> None:
    with pytest.raises(
        DataError, match=r"Unknown sample 'snip_intent'. Did you mean 'snips_intent'.*data=files"
    ):
        load_sample("snip_intent")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "mydata").mkdir()
    with pytest.raises(
        DataError,
        match=r"There is no folder .*my_data. Unknown folder "
        r"'my_data'. Did you mean 'mydata'.*data.path=",
    ):
        load_files(tmp_path / "my_data")


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.jsonl is a file; data.path= takes the folder"):
        load_files(folder(tmp_path) / "train.jsonl")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_split_is_named(tmp_path: Path, split: str) -> None:
    with pytest.raises(DataError, match=rf"has no {split} file .*it contains: .*validation.jsonl"):
        load_files(folder(tmp_path, **{split: None}))


def test_two_files_for_a_split(tmp_path: Path) -> None:
    folder(tmp_path)
    write(tmp_path / "pool.csv", rows(0, 8))
    with pytest.raises(DataError, match=r"more than one train file: train.jsonl, pool.csv"):
        load_files(tmp_path)
    assert len(load_files(tmp_path, format="jsonl").pool) == 16


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unknown format 'jsonlines'. Did you mean 'jsonl'"):
        load_files(folder(tmp_path), format="jsonlines")


def test_the_hub_loader_reads_what_datasets_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "source"
    source.mkdir()
    folder(source)
    data = load_hub(str(source))
    assert [example.text for example in data.pool] == [row["text"] for row in rows(0, 8)]
    assert "newest revision" in data.notes[0]
    cut = load_hub(
        str(source), splits={"validation": None, "train": "train[:12]"}, validation_share=0.2
    )
    assert (len(cut.pool), len(cut.dev)) == (10, 2)
    with pytest.raises(
        DataError, match=r"Split 'tests' of the hub data set .* could not be loaded: .*tests"
    ):
        load_hub(str(source), splits={"test": "tests"})
    with pytest.raises(DataError, match=r"\[train\]: Unknown column 'sentence'"):
        load_hub(str(source), text_column="sentence")
    with pytest.raises(ConfigError, match=r"data.splits: Unknown split 'dev'"):
        load_hub(str(source), splits={"dev": "validation"})
    with pytest.raises(DataError, match=r"data.splits.test is null"):
        load_hub(str(source), splits={"test": None})


def saved(tmp_path: Path, single: bool = False) -> Path:
    """Write a folder with `save_to_disk` of `datasets`."""
    import datasets

    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["animal", "HandTool"]),
        }
    )
    splits = datasets.DatasetDict(
        {
            name: datasets.Dataset.from_list(
                [{**row, "label": int(row["label"] == "HandTool")} for row in rows(*span)],
                features=features,
            )
            for name, span in {"train": (0, 8), "validation": (8, 10), "test": (10, 12)}.items()
        }
    )
    (splits["train"] if single else splits).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


@pytest.mark.parametrize("kind", ["saved", "single", "folders"])
def test_a_folder_of_datasets_names_the_settings_that_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    if kind == "folders":
        path = tmp_path / "by split"
        for name, span in {"train": (0, 8), "validation": (8, 10), "test": (10, 12)}.items():
            (path / name).mkdir(parents=True)
            write(path / name / "part.csv", rows(*span))
    else:
        path = saved(tmp_path, kind == "single")
    with pytest.raises(DataError) as caught:
        load_files(path)
    _, _, advice = str(caught.value).partition(" data=hub ")
    given = dict(one.split("=", 1) for one in shlex.split(advice))
    config = compose_config(["data=hub", *(f"{key}={value}" for key, value in given.items())])
    assert config.data.settings["name"] == str(path)
    data = load_hub(str(path), splits=config.data.settings["splits"])
    texts = {example.text for part in (data.pool, data.dev, data.test) for example in part}
    assert texts == {row["text"] for row in rows(0, 8 if kind == "single" else 12)}
    if kind != "folders":
        assert [label.name for label in data.labels] == ["animal", "HandTool"]


def test_class_numbers_of_the_hub_become_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    spans = {"train": (0, 8), "validation": (8, 10), "test": (10, 12)}
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["animal", "HandTool"]),
        }
    )

    def load(
        name: str, subset: str | None, *, split: str, revision: str | None
    ) -> datasets.Dataset:
        assert (name, subset, revision) == ("some/set", "plain", "abc")
        numbered = [
            {**row, "label": int(row["label"] == "HandTool")} for row in rows(*spans[split])
        ]
        return datasets.Dataset.from_list(
            [*numbered, {"text": "hidden", "label": -1}] if split == "train" else numbered,
            features=features,
        )

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = load_hub("some/set", "plain", revision="abc")
    assert {label.name for label in data.labels} == {"animal", "HandTool"}
    assert data.test[0].label == "animal"
    assert data.notes == ("1 of 17 pool texts have no label",)


@pytest.mark.parametrize("by_key", [False, True])
def test_type_numbers_of_the_hub_s_spans_become_names(
    monkeypatch: pytest.MonkeyPatch, by_key: bool
) -> None:
    import datasets

    def spans(numbers: list[int]) -> object:
        rows = [
            {"start": 5 * index, "end": 5 * index + 4, "label": number}
            for index, number in enumerate(numbers)
        ]
        return (
            {key: [row[key] for row in rows] for key in ("start", "end", "label")}
            if by_key
            else rows
        )

    content = {
        "train": [
            {"text": "Anna Köln", "spans": spans([1, 0])},
            {"text": "Ulla said", "spans": spans([-1])},
        ],
        "validation": [{"text": "Olga sang", "spans": spans([1])}],
        "test": [
            {"text": "Rome fell", "spans": spans([0])},
            {"text": "no name", "spans": spans([])},
        ],
    }
    kinds = {"label": datasets.ClassLabel(names=["LOC", "PER"])}

    def load(
        name: str, subset: str | None, *, split: str, revision: str | None
    ) -> datasets.Dataset:
        span = {"start": datasets.Value("int64"), "end": datasets.Value("int64"), **kinds}
        features = {
            "text": datasets.Value("string"),
            "spans": datasets.Sequence(span) if by_key else datasets.List(span),
        }
        return datasets.Dataset.from_list(content[split], features=datasets.Features(features))

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = load_hub("some/set", revision="abc", kind="ner")
    assert [label.name for label in data.labels] == ["LOC", "PER"]
    assert list(data.pool_gold.values()) == ['[[0, 1, "PER"], [1, 2, "LOC"]]']
    assert data.notes == ("1 of 2 pool texts have no label",)
    assert [one.label for one in data.test] == ['[[0, 1, "LOC"]]', "[]"]
    for nameless in (datasets.Value("int64"), datasets.ClassLabel(num_classes=2)):
        kinds["label"] = nameless
        with pytest.raises(
            DataError,
            match=r"some/set\[train\]: row 1: the type 1 of the span "
            r"\[0, 4\) is an integer.* Write the types by name",
        ):
            load_hub("some/set", revision="abc", kind="ner")


def test_a_hub_that_cannot_be_reached_points_to_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        DataError,
        match=r"Split 'train' of the hub data set 'someone/something' "
        r"could not be loaded: .*data=files data.path=",
    ):
        load_hub("someone/something")


def test_wikigold_is_whole_and_clean() -> None:
    data = load_sample("wikigold", kind="ner", labels=["PER", "LOC", "ORG", "MISC"])
    kept = {"pool": len(data.pool), "dev": len(data.dev), "test": len(data.test)}
    for reason, count in data.dropped.items():
        kept[reason.rpartition(" in ")[2]] += count
    assert kept == {"pool": 1181, "dev": 168, "test": 338}
    assert len(data.test) == 338
    assert len(data.pool) >= 1170
    assert len(data.pool_gold) == len(data.pool)
    found = Counter(span.type for label in data.pool_gold.values() for span in read_spans(label))
    assert set(found) == {"PER", "LOC", "ORG", "MISC"}
    for text, label in [(one.text, one.label) for one in (*data.dev, *data.test)] + [
        (one.text, data.pool_gold[one.id]) for one in data.pool
    ]:
        assert label is not None
        assert all(span.end <= len(text.split(" ")) for span in read_spans(label))
    assert (
        data.digest
        == load_sample("wikigold", kind="ner", labels=["PER", "LOC", "ORG", "MISC"]).digest
    )
    shots = data.shots(2, seed=1)
    assert {span.type for shot in shots for span in read_spans(shot.label or "[]")} == set(found)


def test_tag_numbers_of_the_hub_become_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    features = datasets.Features(
        {
            "words": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(datasets.ClassLabel(names=["O", "B-PER", "I-PER"])),
        }
    )
    content = {
        "train": [
            {"words": ["Anna", "Lee", "left"], "ner_tags": [1, 2, 0]},
            {"words": ["not", "told"], "ner_tags": [-1, -1]},
        ],
        "validation": [{"words": ["Olga", "sang"], "ner_tags": [1, 0]}],
        "test": [{"words": ["by", "Piet"], "ner_tags": [0, 1]}],
    }

    def load(
        name: str, subset: str | None, *, split: str, revision: str | None
    ) -> datasets.Dataset:
        return datasets.Dataset.from_list(content[split], features=features)

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = load_hub(
        "some/set", revision="abc", kind="ner", words_column="words", tags_column="ner_tags"
    )
    assert list(data.pool_gold.values()) == ['[[0, 2, "PER"]]']
    assert data.notes == ("1 of 2 pool texts have no label",)
    assert (data.test[0].text, data.test[0].label) == ("by Piet", '[[1, 2, "PER"]]')
    with pytest.raises(
        DataError, match=r"some/set\[train\] marks entities \(ner_tags\).*Set task=ner"
    ):
        load_hub("some/set", revision="abc", tags_column="ner_tags")
