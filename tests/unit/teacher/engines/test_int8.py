"""The int8 copy of a model: what is rounded, what is kept, and when it is used."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.engines import int8
from tutelage.teacher.engines import vllm as vllm_engine
from tutelage.teacher.engines.hardware import Hardware
from tutelage.teacher.engines.int8 import choose_quantization, ensure_int8, int8_path, quantise
from tutelage.teacher.engines.vllm import VllmTeacher

CPU = Hardware("cpu", 2, False, int8_units=True)
LINEAR = 7 * 2  # projections of a layer, and layers


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny Llama in several files, with a cache of its own."""
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=False,
    )
    folder = tmp_path / "tiny-llama"
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size="6KB")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "pytorch_model.bin").write_bytes(b"the same weights, in an older format")
    (folder / "tutelage-asset.json").write_text("{}")
    return folder


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model counts as large enough."""
    monkeypatch.setattr(int8, "MIN_PARAMETERS", 1_000)


def weights(folder: Path | str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in Path(folder).glob("*.safetensors"):
        found |= load_file(file)
    return found


@given(
    rows=st.lists(
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=4
    ),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_every_weight_is_within_half_a_step(rows: list[list[float]], dtype: torch.dtype) -> None:
    weight = torch.tensor(rows).to(dtype)
    rounded, scale = quantise(weight)
    assert rounded.dtype == torch.int8
    assert scale.shape == (len(rows), 1)
    off = (rounded.double() * scale.double() - weight.double()).abs()
    assert bool((off <= scale.double() * 0.5001).all())


def test_linear_layers_are_rounded_and_the_rest_is_kept(model: Path) -> None:
    folder = Path(ensure_int8(str(model)))
    before, after = weights(model), weights(folder)
    rounded = {name for name in before if after[name].dtype == torch.int8}
    assert len(rounded) == LINEAR
    assert all("_proj.weight" in name for name in rounded)
    assert set(after) == set(before) | {f"{name}_scale" for name in rounded}
    for name, weight in before.items():
        if name in rounded:
            scale = after[f"{name}_scale"]
            off = (after[name] * scale - weight.float()).abs()
            assert bool((off <= scale * 0.5001).all())
        else:
            assert torch.equal(after[name], weight)
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert set(index) == set(after)
    assert set(index.values()) == {file.name for file in folder.glob("*.safetensors")}
    assert len(set(index.values())) > 1


def test_a_copy_is_a_whole_folder_that_says_what_it_is(model: Path) -> None:
    folder = Path(ensure_int8(str(model)))
    assert folder == int8_path(str(model))
    config = json.loads((folder / "config.json").read_text())
    scheme = config.pop("quantization_config")
    assert config == json.loads((model / "config.json").read_text())
    assert (scheme["quant_method"], scheme["format"]) == ("compressed-tensors", "int-quantized")
    assert scheme["ignore"] == ["lm_head"]
    assert (folder / "chat_template.jinja").read_text() == "{{ messages }}"
    assert {"pytorch_model.bin", "tutelage-asset.json"}.isdisjoint(
        file.name for file in folder.iterdir()
    )
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1


def test_it_is_made_once_by_two_at_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    real = int8._quantise_weights

    def counted(source: Path, target: Path) -> None:
        made.append(source)
        real(source, target)

    monkeypatch.setattr(int8, "_quantise_weights", counted)
    both = threading.Barrier(2)

    def make() -> None:
        both.wait()
        ensure_int8(str(model))

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert made == [model]
    # Other weights are another model.
    ensure_int8(str(model))
    assert made == [model]
    file = next(model.glob("*.safetensors"))
    save_file({name: weight + 1 for name, weight in load_file(file).items()}, file)
    ensure_int8(str(model))
    assert made == [model, model]


def test_a_full_disk_leaves_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(int8, "_quantise_weights", full)
        with pytest.raises(OSError, match="No space left"):
            ensure_int8(str(model))
    assert [file for file in int8_path(str(model)).parent.iterdir() if file.is_dir()] == []
    assert Path(ensure_int8(str(model))).is_dir()


def choose(asked: Any, model: Path | str, hardware: Hardware = CPU, *, other: bool = False) -> str:
    return choose_quantization(asked, str(model), hardware, engine_quantises=other)


@pytest.mark.usefixtures("large")
def test_auto_is_int8_where_it_pays(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("auto", model) == "int8"
    assert choose("none", model) == "none"
    assert choose("auto", model, replace(CPU, int8_units=False)) == "none"
    assert choose("auto", model, other=True) == "none"
    assert choose("auto", "organisation/model") == "none"
    monkeypatch.setattr(int8, "MIN_PARAMETERS", 10_000)
    assert choose("auto", model) == "none"


def quantised(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq"}
    (folder / "config.json").write_text(json.dumps(config))


def experts(folder: Path) -> None:
    save_file({"model.layers.0.mlp.gate.weight": torch.zeros(4, 16)}, folder / "model.safetensors")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["model.layers.0.mlp.gate.weight"] = "model.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def torn(folder: Path) -> None:
    max(folder.glob("*.safetensors")).write_bytes(b"half")


def bare(folder: Path) -> None:
    for file in folder.glob("*.safetensors*"):
        file.unlink()


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (quantised, r"quantised already \(gptq\)"),
        (experts, r"mlp\.gate\.weight in .* is no linear layer"),
        (torn, "cannot be read"),
        (bare, "has no safetensors"),
    ],
)
def test_a_model_of_another_kind_is_refused_and_left_as_it_is(
    model: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(model)
    assert choose("auto", model) == "none"
    with pytest.raises(TeacherError, match=reason):
        choose("int8", model)


def test_int8_where_it_cannot_run_is_refused(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match="is for CPUs"):
        choose("int8", model, Hardware("gpu", 2, True))
    with pytest.raises(ConfigError, match=r"neither with teacher\.engine\.quantization"):
        choose("int8", model, other=True)
    with pytest.raises(ConfigError, match="needs the model in a folder"):
        choose("int8", "organisation/model")
    with caplog.at_level(logging.WARNING):
        assert choose("int8", model) == "int8"
        assert not caplog.messages
        # Slower there, but the user may have reasons.
        assert choose("int8", model, replace(CPU, int8_units=False)) == "int8"
        assert "has no AVX-512 VNNI" in caplog.text


def test_a_teacher_of_int8_is_another_teacher(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "vllm_hardware", lambda _: (CPU, "0.32.0"))
    plain, rounded = (VllmTeacher(str(model), quantization=one) for one in ("auto", "int8"))
    assert "quantization" not in plain.fingerprint
    assert '"quantization":"int8-1"' in rounded.fingerprint
    assert plain.engine_arguments()["model"] == str(model)
    assert rounded.engine_arguments()["model"] == str(int8_path(str(model)))
    assert (plain.number_type, plain.notes) == ("float32", ())
    assert "int8 in the linear layers, float32 between them" in rounded.notes[0]
    # A run that is answered from the cache needs no copy; the engine's start makes it.
    assert not int8_path(str(model)).exists()
    rounded._start_message()
    assert int8_path(str(model)).is_dir()
