from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tutelage.errors import TeacherError
from tutelage.teacher.engines.model_files import (
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
