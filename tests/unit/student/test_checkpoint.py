"""A saved student loads again, and works without tutelage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.helpers.classification import NAMES
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer

from tutelage.errors import ConfigError, DataError, StudentError
from tutelage.student.checkpoint import (
    load_tokenizer,
    new_classifier,
    new_tagger,
    resolve_encoder,
    save_student,
)
from tutelage.student.loading import load_student

TEXTS = ["animal dune quay", "tool", "food ridge shore tide 42"]


def logits(network: Any) -> torch.Tensor:
    batch = tiny_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        found: torch.Tensor = network.eval()(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
    return found


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_there_and_back(
    encoder: Path, tmp_path: Path, pooling: str, capfd: pytest.CaptureFixture[str]
) -> None:
    network = tiny_network(encoder, pooling)
    save_student(tmp_path / "student", network, load_tokenizer(str(encoder)), 33)
    loaded, tokenizer, max_length = load_student(tmp_path / "student")
    assert torch.equal(logits(loaded), logits(network))
    assert not loaded.training
    assert max_length == 33
    assert tokenizer(TEXTS)["input_ids"] == tiny_tokenizer()(TEXTS)["input_ids"]
    assert [loaded.config.id2label[index] for index in range(3)] == list(NAMES)
    assert loaded.config.label2id == {name: index for index, name in enumerate(NAMES)}


def test_a_first_token_student_has_the_model_s_own_head(encoder: Path) -> None:
    assert type(tiny_network(encoder, "first")).__name__ == "BertForSequenceClassification"


def test_the_head_starts_from_the_seed(encoder: Path) -> None:
    same = [tiny_network(encoder, seed=3).classifier.weight for _ in range(2)]
    assert torch.equal(*same)
    assert not torch.equal(same[0], tiny_network(encoder, seed=4).classifier.weight)


def test_the_folder_works_where_tutelage_is_not(encoder: Path, tmp_path: Path) -> None:
    network = tiny_network(encoder)
    save_student(tmp_path / "student", network, load_tokenizer(str(encoder)), 33)
    code = (
        "import sys, json, torch\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'tutelage': raise ImportError(name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
        "folder, texts = sys.argv[1], json.loads(sys.argv[2])\n"
        "options = {'trust_remote_code': True}\n"
        "network = AutoModelForSequenceClassification.from_pretrained(folder, **options).eval()\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder, **options)\n"
        "batch = tokenizer(texts, padding=True, return_tensors='pt')\n"
        "with torch.no_grad():\n"
        "    inputs = {name: batch[name] for name in ('input_ids', 'attention_mask')}\n"
        "    found = network(**inputs).logits\n"
        "print(json.dumps([found.tolist(), network.config.id2label]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "student"), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_MODULES_CACHE": str(tmp_path / "modules"),
            "OMP_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    found, names = json.loads(done.stdout.strip().splitlines()[-1])
    torch.testing.assert_close(torch.tensor(found), logits(network))
    assert list(names.values()) == list(NAMES)


def test_a_folder_without_a_student(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"holds no student \(no config.json\).*is this the folder of a finished run",
    ):
        load_student(tmp_path)
    with pytest.raises(DataError, match=r"nowhere holds no student .* There is no such folder\."):
        load_student(tmp_path / "nowhere")
    for time in ("2026-01-01_00-00-00", "2026-01-02_00-00-00"):
        (tmp_path / time).mkdir()
        (tmp_path / time / "manifest.json").touch()
    with pytest.raises(DataError, match=r"2 run\(s\)\. Give one of them, the last is .*01-02_"):
        load_student(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_a_broken_student_is_an_error_of_ours(encoder: Path, tmp_path: Path) -> None:
    save_student(tmp_path / "student", tiny_network(encoder), load_tokenizer(str(encoder)), 33)
    (tmp_path / "student" / "model.safetensors").unlink()
    with pytest.raises(StudentError, match="could not be loaded"):
        load_student(tmp_path / "student")
    (tmp_path / "student" / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(StudentError, match="could not be loaded"):
        load_student(tmp_path / "student")


@pytest.mark.parametrize(
    "build", [new_tagger, partial(new_classifier, pooling="first", head_dropout=0.0)]
)
def test_a_fresh_head_is_no_news_and_a_torn_encoder_is_an_error(
    build: Any,
    encoder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    build(str(encoder), ("a", "b"))
    assert "LOAD REPORT" not in caplog.text + capfd.readouterr().err
    torn = tmp_path / "torn"
    shutil.copytree(encoder, torn)
    weights = load_file(torn / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "query" not in name},
        torn / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(
        ConfigError,
        match=r"could not be loaded: its weights lack 2 of the encoder's "
        r"\(bert\.encoder\.layer\.0\S+query",
    ):
        build(str(torn), ("a", "b"))


def test_models_that_are_not_there(tmp_path: Path, encoder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"student.model=./nowhere does not exist. Give a folder, a hub id"
    ):
        resolve_encoder("./nowhere")
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        resolve_encoder(str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"student.pooling=max. Give mean, normalized_mean or first"
    ):
        new_classifier(str(encoder), (), "max", 0.0)  # type: ignore[arg-type]
    assert resolve_encoder("some/hub-id") == "some/hub-id"
    broken = tmp_path / "broken"
    shutil.copytree(encoder, broken)
    (broken / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        ConfigError,
        match=r"could not be loaded: .*Give a folder, a hub id this machine can reach, or embedded",
    ):
        tiny_network(broken)


def test_a_saved_tokenizer_does_not_depend_on_its_last_call(tmp_path: Path, encoder: Path) -> None:
    for name, settings in (("fresh", {}), ("used", {"truncation": True, "max_length": 5})):
        tokenizer = load_tokenizer(str(encoder))
        tokenizer(["play some music now"], padding=bool(settings), **settings)
        save_student(tmp_path / name, tiny_network(encoder), tokenizer, 33)
    fresh, used = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("fresh", "used"))
    assert fresh == used
