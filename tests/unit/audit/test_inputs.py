"""What an audit reads beside the run's files: our readers, and what is on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.helpers.run_folders import build_run
from tests.helpers.tiny_student import tiny_encoder

from tutelage.audit.inputs import dataset_of, encoder_of, settings_of
from tutelage.data.sources import load_files
from tutelage.errors import RunError
from tutelage.runs.read import Run, read_run


def built(folder: Path, settings: Any, digest: str = "") -> Run:
    build_run(folder, rounds=1, rows_a_round=2, test_count=3)
    text = settings if isinstance(settings, str) else yaml.safe_dump(settings)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["data"] = {"name": "mine", "digest": digest}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return read_run(folder)


def of_files(path: Path) -> dict[str, Any]:
    return {"data": {"_target_": "tutelage.data.sources.load_files", "path": str(path), "cue": "A"}}


def test_the_data_set_counts_if_it_is_the_run_s_own(tmp_path: Path, small_data: Path) -> None:
    settings = of_files(small_data)
    run = built(tmp_path / "run", settings, load_files(small_data).digest)
    dataset, notes = dataset_of(run, settings, fetch=False)
    assert dataset is not None
    assert len(dataset.pool_gold) == len(dataset.pool) > 0
    assert notes == ()
    other = built(tmp_path / "other", settings, "another")
    dataset, (note,) = dataset_of(other, settings, fetch=False)
    assert dataset is None
    assert note.startswith("The data set is no longer that of the run")


def test_nothing_is_imported_by_a_name_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile_module.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = {"data": {"_target_": "hostile_module.load", "path": "x"}}
    dataset, (note,) = dataset_of(built(tmp_path / "run", settings), settings, fetch=True)
    assert dataset is None
    assert "reader of its own (hostile_module.load)" in note
    assert "hostile_module" not in sys.modules


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": "nowhere"}, "There is no folder nowhere"),
        ({"path": "nowhere", "kind": "ner"}, "kind"),
        ({"path": 3}, "data.path=3"),
        ({}, "data.path has no value"),
    ],
)
def test_a_data_set_that_cannot_be_read_is_a_note(
    tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    settings = {"data": {"_target_": "tutelage.data.sources.load_files", **given}}
    dataset, (note,) = dataset_of(built(tmp_path / "run", settings), settings, fetch=False)
    assert dataset is None
    assert said in note


def test_the_hub_is_asked_with_fetch_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "data": {"_target_": "tutelage.data.sources.load_hub", "name": "some/set"},
        "student": {"model": "some/encoder"},
    }
    run = built(tmp_path / "run", settings)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    assert dataset_of(run, settings, fetch=False)[1][0].endswith("--fetch reads it again.")
    with pytest.raises(RunError, match=r"some/encoder is not on this machine\. Give --fetch"):
        encoder_of(run, settings, None, fetch=False)
    assert encoder_of(run, settings, None, fetch=True) == "some/encoder"


def test_the_encoder_is_the_run_s_unless_another_is_given(tmp_path: Path) -> None:
    encoder = str(tiny_encoder(tmp_path / "encoder"))
    run = built(tmp_path / "run", {"student": {"model": encoder}})
    settings = settings_of(run)
    assert encoder_of(run, settings, None, fetch=False) == encoder
    assert encoder_of(run, settings, "embedded", fetch=False) == "embedded"
    with pytest.raises(RunError, match="Give one: --encoder embedded"):
        encoder_of(run, {}, None, fetch=False)


@pytest.mark.parametrize("text", ["a: [", "a: !!python/object/apply:os.system ['true']"])
def test_a_damaged_configuration_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(RunError, match=r"config\.yaml is not valid YAML"):
        settings_of(built(tmp_path / "run", text))


def test_a_configuration_that_is_no_mapping_has_no_settings(tmp_path: Path) -> None:
    assert settings_of(built(tmp_path / "run", "[1, 2]")) == {}
