"""Int8 weights for CPUs: a copy of a model, made once and kept in the cache.

Every linear layer of the decoder gets one scale per output channel, max |w| / 127 of its row, and
integers w / scale, rounded to nearest. vLLM quantises the activations itself, per token. (Both are
the vector-wise quantisation of Dettmers et al. 2022, LLM.int8(), section 3.1; no outliers are kept
in float16.) The copy is a compressed-tensors folder, which vLLM loads as it is.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tutelage.assets import build_once, cache_directory
from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.engines.hardware import Hardware
from tutelage.teacher.engines.model_files import is_local, model_identity

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)

RECIPE = 1
"""Version of the quantisation; increase it with every change of the weights."""
MIN_PARAMETERS = 300_000_000
"""Quantised weights from which "auto" chooses int8: smaller models are fast, and lose more."""

_STAMP = "tutelage-int8.json"
_INDEX = "model.safetensors.index.json"
_LINEAR = re.compile(
    r".*\.layers\.\d+\.(self_attn|mlp)\."
    r"(q_proj|k_proj|v_proj|o_proj|qkv_proj|gate_proj|up_proj|down_proj|gate_up_proj)\.weight"
)
"""Linear layers of dense decoders by their names in a checkpoint."""
_LAYER = re.compile(r".*\.layers\.\d+\..*")
_LEFT_OUT = ("*.safetensors", "*.bin", "*.gguf", "*.pt", "*.pth", _INDEX, ".*", "tutelage-*.json")
"""Files of a model that its copy does not keep: weights, and whatever describes them."""
_SCHEME: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "channel",
                "dynamic": False,
            },
            "input_activations": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "token",
                "dynamic": True,
            },
        }
    },
}
"""``quantization_config`` of the copy's config.json, in the terms of compressed-tensors."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Name, shape and file of one tensor of a model."""

    name: str
    shape: tuple[int, ...]
    file: Path

    @property
    def numel(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size


def choose_quantization(
    asked: Literal["auto", "none", "int8"],
    model: str,
    hardware: Hardware,
    *,
    engine_quantises: bool,
) -> Literal["none", "int8"]:
    """Resolves ``teacher.quantization`` for a model on this machine.

    "auto" is int8 for a dense model of at least 300 million quantised weights, in a local folder,
    on a CPU with AVX-512 VNNI. Everything else keeps its numbers.

    Args:
        asked: The setting.
        model: A resolved model.
        hardware: The hardware of the engine.
        engine_quantises: Whether an argument for vLLM chooses a quantisation, or adds an adapter.

    Raises:
        ConfigError: int8 is asked for on a GPU or a hub id, or beside another quantisation.
        TeacherError: int8 is asked for, and the model cannot be quantised.
    """
    if asked == "none":
        return "none"
    if asked == "auto":
        suits = hardware.int8_units and not engine_quantises and is_local(model)
        if not suits or _obstacle(Path(model)):
            return "none"
        return "int8" if _linear_parameters(Path(model)) >= MIN_PARAMETERS else "none"
    if hardware.device != "cpu":
        raise ConfigError(
            "teacher.quantization=int8 is for CPUs. On a GPU use a quantisation of vLLM, such as "
            "teacher.engine.quantization=fp8, and teacher.quantization=none."
        )
    if engine_quantises:
        raise ConfigError(
            "teacher.quantization=int8 goes neither with teacher.engine.quantization nor with "
            "teacher.lora. Set teacher.quantization=none."
        )
    if not is_local(model):
        raise ConfigError(
            f"teacher.quantization=int8 needs the model in a folder, and {model} is an id of the "
            "hub. Fetch it with `hf download`, and set teacher.model to the folder that it prints."
        )
    if obstacle := _obstacle(Path(model)):
        raise TeacherError(
            f"teacher.quantization=int8: {obstacle}. Set teacher.quantization=none, or use another "
            "model."
        )
    if not hardware.int8_units:
        _LOG.warning(
            "teacher.quantization=int8: this processor has no AVX-512 VNNI, so int8 may be slower "
            "than float32. Compare with teacher.quantization=none."
        )
    return "int8"


def int8_path(model: str) -> Path:
    """Folder of a model's int8 copy, whether it exists or not."""
    identity = model_identity(model).removeprefix("sha256:")[:16]
    return cache_directory() / "models" / f"{Path(model).name}-int8-{RECIPE}-{identity}"


def ensure_int8(model: str) -> str:
    """Returns the folder of a model's int8 copy, made first if necessary.

    Processes take turns, and the folder appears complete or not at all. The work is done file by
    file, so that it takes the memory of the largest tensor beside that of one finished file.

    Args:
        model: A resolved model in a folder; see :func:`choose_quantization`.
    """
    target = int8_path(model)

    def build(work: Path) -> Path:
        _LOG.info("making the int8 copy of %s in %s, once", model, target)
        made = work / "model"
        shutil.copytree(model, made, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        _quantise_weights(Path(model), made)
        config = json.loads((made / "config.json").read_text(encoding="utf-8"))
        config["quantization_config"] = _SCHEME
        (made / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        record = {"model": str(model), "recipe": RECIPE}
        (made / _STAMP).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        mode = (made / _STAMP).stat().st_mode & 0o777
        for file in made.glob("*.safetensors"):  # safetensors makes its files private
            file.chmod(mode)
        return made

    build_once(target, (target / _STAMP).is_file, build)
    return str(target)


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounds a matrix to int8, symmetrically, with one scale per row.

    Args:
        weight: A matrix [rows, columns] of any floating type.

    Returns:
        The int8 matrix, and float32 scales [rows, 1]. Their product is within half a scale of
        ``weight``.
    """
    import torch

    full = weight.to(torch.float32)
    # A row of zeros takes any scale.
    largest = full.abs().amax(dim=1, keepdim=True)
    scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return torch.round(full / scale).clamp(-127, 127).to(torch.int8), scale


def _quantise_weights(source: Path, target: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    total = 0
    for file in _files(source):
        made: dict[str, torch.Tensor] = {}
        with safe_open(file, framework="pt") as content:
            for name in content.keys():  # noqa: SIM118 (it is no mapping)
                tensor = content.get_tensor(name)
                if _LINEAR.fullmatch(name):
                    made[name], made[f"{name}_scale"] = quantise(tensor)
                else:
                    made[name] = tensor
        save_file(made, target / file.name, {"format": "pt"})
        places |= dict.fromkeys(made, file.name)
        total += sum(tensor.nbytes for tensor in made.values())
    if (source / _INDEX).is_file():
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        (target / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _obstacle(model: Path) -> str:
    """Returns why a model cannot be quantised; "" if it can."""
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        matrices = [tensor for tensor in _tensors(model) if len(tensor.shape) > 1]
    except (OSError, ValueError, struct.error) as error:
        return f"a file of {model} cannot be read ({error})"
    if "quantization_config" in config:
        method = config["quantization_config"].get("quant_method", "unknown")
        return f"the weights of {model} are quantised already ({method})"
    if not any(_LINEAR.fullmatch(tensor.name) for tensor in matrices):
        return f"{model} has no safetensors with the linear layers of a dense decoder"
    # Experts, state-space layers and the like need schemes of their own.
    for tensor in matrices:
        if _LAYER.fullmatch(tensor.name) and not _LINEAR.fullmatch(tensor.name):
            return f"{tensor.name} in {tensor.file} is no linear layer of a dense decoder"
    return ""


def _linear_parameters(model: Path) -> int:
    return sum(tensor.numel for tensor in _tensors(model) if _LINEAR.fullmatch(tensor.name))


def _files(model: Path) -> list[Path]:
    """Returns the weight files: those of the index, as a folder may hold the weights twice."""
    if (model / _INDEX).is_file():
        index = json.loads((model / _INDEX).read_text(encoding="utf-8"))
        return [model / name for name in sorted(set(index["weight_map"].values()))]
    return sorted(model.glob("*.safetensors"))


def _tensors(model: Path) -> Iterator[_Tensor]:
    """Yields the tensors of all files from their headers, without reading the weights."""
    for file in _files(model):
        with file.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            header = json.loads(handle.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                yield _Tensor(name, tuple(entry["shape"]), file)
