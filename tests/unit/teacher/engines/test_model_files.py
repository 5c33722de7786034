from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.helpers.tokenizer_kinds import KINDS, hugging_face

from tutelage.errors import TeacherError
from tutelage.teacher.engines import model_files
from tutelage.teacher.engines.model_files import (
    find_tokenizer,
    fingerprint_of,
    is_local,
    load_tokenizer,
    model_identity,
    resolve_model,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({"weight": torch.arange(10_000, dtype=torch.float32)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("path", ["/nowhere/model", "./nowhere", "~/nowhere-at-all", "a/b/c"])
def test_what_looks_like_a_path_must_be_there(path):
    with pytest.raises(TeacherError, match="there is no such folder"):
        resolve_model(path)


def test_a_path_nearly_right_is_put_right(model):
    with pytest.raises(TeacherError, match=f"Did you mean '{model}'"):
        resolve_model(f"{model}l")


def test_folders_files_and_hub_ids_are_told_apart(model, tmp_path):
    assert resolve_model(str(model)) == str(model)
    assert is_local(str(model))
    assert resolve_model("organisation/model") == "organisation/model"
    assert not is_local("organisation/model")
    with pytest.raises(TeacherError, match=r"has no config\.json"):
        resolve_model(str(tmp_path))
    with pytest.raises(TeacherError, match="is a file"):
        resolve_model(str(model / "config.json"))
    with pytest.raises(TeacherError, match="is empty"):
        resolve_model(" ")


def test_a_larger_teacher_is_fetched_by_a_command_only(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(TeacherError, match=r"Run `tutelage assets qwen2\.5-coder-0\.5b`.* 478 MB"):
        resolve_model("qwen2.5-coder-0.5b")
    monkeypatch.setattr(model_files, "asset_ready", lambda name: True)
    folder = tmp_path / "cache" / "models" / "Qwen2.5-Coder-0.5B-Instruct"
    assert resolve_model("qwen2.5-coder-0.5b") == str(folder)


def test_the_identity_is_the_content_and_not_the_place(model, tmp_path):
    one = model_identity(str(model))
    moved = model.rename(tmp_path / "moved")
    assert model_identity(str(moved)) == one
    # A fine-tuned copy has the same names, shapes and sizes.
    save_file(
        {"weight": torch.arange(10_000, dtype=torch.float32) + 1}, moved / "model.safetensors"
    )
    tuned = model_identity(str(moved))
    assert tuned != one
    (moved / "tokenizer.json").write_text("{}")
    assert model_identity(str(moved)) != tuned


def test_a_hub_model_is_its_id_and_revision():
    assert model_identity("a/b") != model_identity("a/b", "v2")
    assert fingerprint_of("vllm", b=1, a="x") == 'vllm:{"a":"x","b":1}'


def test_a_folder_without_a_tokenizer_says_so(model):
    with pytest.raises(TeacherError, match=r"tokenizer of .* cannot be loaded"):
        load_tokenizer(str(model))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_file_alone_is_a_tokenizer(kind, tmp_path):
    made = KINDS[kind]()
    made.save(str(tmp_path / "tokenizer.json"))
    wanted = hugging_face(made)(" music", add_special_tokens=False)["input_ids"]
    for name in (tmp_path, tmp_path / "tokenizer.json"):
        found = find_tokenizer(str(name))
        assert found(" music", add_special_tokens=False)["input_ids"] == wanted


def test_what_is_no_tokenizer_is_told_under_its_own_setting(model, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tokenizer.json").write_text('{"version": "1.0"}')
    for name, message in (
        (model, r"teacher\.tokenizer=.*has no tokenizer .none of tokenizer\.json"),
        (broken, r"teacher\.tokenizer=.*cannot be loaded: "),
        (broken / "tokenizer.json", r"teacher\.tokenizer=.*cannot be loaded: "),
        (f"{model}l", rf"teacher\.tokenizer=.*no such folder.*Did you mean '{model}'"),
    ):
        with pytest.raises(TeacherError, match=message):
            find_tokenizer(str(name))


def test_a_hub_that_is_out_of_reach_costs_one_try(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    online = []
    monkeypatch.setattr(
        model_files,
        "_auto_tokenizer",
        lambda name, local_files_only=False: online.append(local_files_only) or 1 / 0,
    )
    began = time.monotonic()
    with pytest.raises(
        TeacherError,
        match=r"org/m is not on this machine, and http://127\.0\.0\.1:9 cannot be reached "
        r".ConnectError.\. Set teacher\.tokenizer",
    ):
        find_tokenizer("org/m")
    assert time.monotonic() - began < 5
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TeacherError, match="HF_HUB_OFFLINE is set"):
        find_tokenizer("org/m")
    assert online == [True, True]
