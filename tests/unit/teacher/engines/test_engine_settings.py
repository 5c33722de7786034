"""Arguments that ``teacher.engine`` hands to vLLM, against a package with vLLM's layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.engines import engine_settings
from tutelage.teacher.engines.engine_settings import (
    checked_engine,
    lora_arguments,
    lora_identity,
    resolve_lora,
)
from tutelage.teacher.engines.hardware import Hardware

CPU = Hardware("cpu", 2, False)
GPU = Hardware("gpu", 2, True, "H100, 80 GB")
SOURCE = """
class AsyncEngineArgs:
    elsewhere: int = 1
@dataclass
class EngineArgs:
    model: str = ModelConfig.model
    max_num_seqs: int | None = None
    hf_overrides: HfOverrides = get_field(ModelConfig, "hf_overrides")
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    block_size: int | None = None
    _api_process_count: int = 1
    def create(self):
        local: int = 1
"""


@pytest.fixture(autouse=True)
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "packages" / "vllm" / "engine"
    folder.mkdir(parents=True)
    (folder / "arg_utils.py").write_text(SOURCE)
    (folder.parent / "__init__.py").write_text("raise ImportError('it must not be imported')")
    monkeypatch.syspath_prepend(folder.parents[1])
    engine_settings._known_arguments.cache_clear()
    yield
    engine_settings._known_arguments.cache_clear()


def test_known_arguments_are_handed_through_sorted_and_without_null():
    given = {"max_num_seqs": 8, "hf_overrides": {"a": 1}, "tensor_parallel_size": None}
    made = checked_engine(given, CPU)
    assert made == {"hf_overrides": {"a": 1}, "max_num_seqs": 8}
    assert list(made) == sorted(made)


@pytest.mark.parametrize("name", ["max_num_sqs", "elsewhere", "local", "_api_process_count"])
def test_an_argument_that_vllm_does_not_know_is_refused(name):
    with pytest.raises(ConfigError, match=rf"teacher\.engine\.{name}: Unknown argument of vLLM"):
        checked_engine({name: 1}, CPU)


def test_a_misspelt_argument_is_told_the_near_one_that_may_be_set():
    with pytest.raises(ConfigError, match="Did you mean 'max_num_seqs'") as refused:
        checked_engine({"max_num_sqs": 1}, CPU)
    assert "model" not in str(refused.value).partition("Available")[2]


def test_what_another_setting_has_is_refused_with_that_setting():
    with pytest.raises(ConfigError, match=r"engine\.model cannot be set: use teacher.model"):
        checked_engine({"model": "m"}, GPU)
    with pytest.raises(ConfigError, match="blocks of 32 tokens"):
        checked_engine({"block_size": 16}, CPU)
    assert checked_engine({"block_size": 16}, GPU) == {"block_size": 16}


def test_chosen_gpus_are_as_many_as_the_engine_uses():
    two = Hardware("gpu", 2, True, "H100, 80 GB", ("0", "1"))
    for engine in ({"tensor_parallel_size": 2}, {"pipeline_parallel_size": 2}):
        assert checked_engine(engine, two) == engine
    with pytest.raises(ConfigError, match="chooses 2 of the GPUs, and the engine would use 1"):
        checked_engine({}, two)
    with pytest.raises(ConfigError, match="the engine would use 4"):
        checked_engine({"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, two)
    assert checked_engine({"tensor_parallel_size": 4}, GPU)


def adapter(folder: Path, **settings: object) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **settings}))
    matrices(folder / "adapter_model.safetensors", {})
    return str(folder)


def matrices(path: Path, shapes: dict[str, tuple[int, int]]) -> None:
    save_file({name: numpy.zeros(shape, numpy.float32) for name, shape in shapes.items()}, path)


def test_an_adapter_is_known_by_its_content(tmp_path):
    one, copy = adapter(tmp_path / "one", r=9), adapter(tmp_path / "copy", r=9)
    assert lora_identity(resolve_lora(one, "a/hub-id")) == lora_identity(copy)
    (tmp_path / "copy" / "adapter_model.safetensors").write_bytes(b"trained on")
    assert lora_identity(one) != lora_identity(copy)


def test_the_engine_has_room_for_the_adapter_s_rank(tmp_path):
    assert lora_arguments(adapter(tmp_path / "nine", r=9))["max_lora_rank"] == 16
    pattern = adapter(tmp_path / "pattern", r=4, rank_pattern={"q_proj": 33})
    assert lora_arguments(pattern) == {"enable_lora": True, "max_loras": 1, "max_lora_rank": 64}
    for name, settings in (("big", {"r": 1000}), ("other", {"r": 4, "peft_type": "IA3"})):
        with pytest.raises(TeacherError, match=r"ranks 1 to 512; merge"):
            lora_arguments(adapter(tmp_path / name, **settings))


def test_an_adapter_of_another_model_is_refused(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    matrices(model / "model.safetensors", {"layers.0.q.weight": (6, 8), "packed.weight": (48, 1)})
    for name, down, up in (("fits", 8, 6), ("read", 7, 6), ("written", 8, 5)):
        lora = adapter(tmp_path / name, r=2)
        matrices(
            tmp_path / name / "adapter_model.safetensors",
            {
                "base_model.model.layers.0.q.lora_A.weight": (2, down),
                "base_model.model.layers.0.q.lora_B.weight": (up, 2),
                "base_model.model.packed.lora_A.weight": (2, 9),
                "base_model.model.elsewhere.lora_A.weight": (2, 9),
            },
        )
        if name == "fits":
            assert resolve_lora(lora, str(model)) == lora
            continue
        with pytest.raises(TeacherError, match=rf"teacher\.lora=.*{name} was trained on another"):
            resolve_lora(lora, str(model))
    (model / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(TeacherError, match="cannot be read"):
        resolve_lora(lora, str(model))


def test_a_folder_without_an_adapter_is_refused(tmp_path):
    with pytest.raises(TeacherError, match=r"has no adapter_config\.json"):
        resolve_lora(str(tmp_path), "m")
    with pytest.raises(TeacherError, match="is no folder"):
        resolve_lora(str(tmp_path / "nowhere"), "m")
