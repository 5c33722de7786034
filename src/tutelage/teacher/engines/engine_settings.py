"""Arguments of vLLM that ``teacher.engine`` hands through, and the LoRA adapter beside them."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError, TeacherError, did_you_mean
from tutelage.teacher.engines.hardware import Hardware

_INSTEAD = {
    "model": "use teacher.model",
    "dtype": "use teacher.dtype",
    "max_model_len": "use teacher.max_model_len",
    "seed": "every request has a seed of its own",
    "trust_remote_code": "use teacher.trust_remote_code",
    "revision": "use teacher.revision",
    "gpu_memory_utilization": "use teacher.gpu_memory_utilization",
    "kv_cache_memory_bytes": "use teacher.kv_cache_gb on a CPU, and "
    "teacher.gpu_memory_utilization on a GPU",
    "enable_sleep_mode": "use teacher.lifecycle=sleep",
    "enable_lora": "use teacher.lora",
    "device_ids": "use teacher.devices",
    "hf_token": "set the environment variable HF_TOKEN, which no run folder keeps",
    "block_size": "on a CPU only blocks of 32 tokens cache a short shared prefix",
    "enable_prefix_caching": "every prompt of a batch begins like its neighbours",
    "enable_chunked_prefill": "on a CPU a seeded request that is split over two steps ends vLLM",
    "disable_log_stats": "nothing reads these statistics",
    "tokenizer": "a run counts and renders with the tokenizer of teacher.model",
    "tokenizer_mode": "a run counts and renders with the tokenizer of teacher.model",
    "tokenizer_revision": "the tokenizer is that of teacher.revision",
    "skip_tokenizer_init": "the engine has to turn tokens into text",
    "chat_template": "the run renders with the template in the folder of teacher.model",
    "runner": "a teacher writes text",
    "convert": "a teacher writes text",
    "logprobs_mode": "scores are raw log-probabilities",
}
"""Arguments that ``teacher.engine`` cannot set, each with what to do instead or with the reason."""

_OWN_ON_A_CPU = ("block_size", "enable_chunked_prefill")
"""Those of :data:`_INSTEAD` that are free on a GPU."""

_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for ``max_lora_rank``."""


def checked_engine(engine: Mapping[str, Any], hardware: Hardware) -> dict[str, Any]:
    """Returns the arguments to hand to vLLM, sorted and without those that are null.

    Args:
        engine: Arguments by name, as ``teacher.engine`` has them.
        hardware: The hardware of the engine.

    Raises:
        ConfigError: vLLM does not know an argument, the run itself sets it, or the chosen GPUs are
            more or fewer than the engine uses.
    """
    free = () if hardware.device == "cpu" else _OWN_ON_A_CPU
    known = _known_arguments()
    for name in engine:
        if name in _INSTEAD and name not in free:
            raise ConfigError(f"teacher.engine.{name} cannot be set: {_INSTEAD[name]}.")
        if known and name not in known:
            unknown = did_you_mean("argument of vLLM", name, known - set(_INSTEAD), 8)
            raise ConfigError(f"teacher.engine.{name}: {unknown}")
    given = {name: value for name, value in sorted(engine.items()) if value is not None}
    used = given.get("tensor_parallel_size", 1) * given.get("pipeline_parallel_size", 1)
    if (chosen := len(hardware.gpus)) and used != chosen:
        raise ConfigError(
            f"teacher.devices chooses {chosen} of the GPUs, and the engine would use {used}. Set "
            f"teacher.engine.tensor_parallel_size={chosen} (with pipeline_parallel_size the "
            "product of both counts), or choose as many GPUs as the engine uses."
        )
    return given


@cache
def _known_arguments() -> frozenset[str]:
    """The fields of vLLM's EngineArgs, from its source: the import takes many seconds.

    Empty where the source is out of reach. vLLM itself then refuses what it does not know.
    """
    package = find_spec("vllm")
    if package is None or package.origin is None:
        return frozenset()
    path = Path(package.origin).parent / "engine" / "arg_utils.py"
    if not path.is_file():
        return frozenset()
    classes = (
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == "EngineArgs"
    )
    return frozenset(
        field.target.id
        for node in classes
        for field in node.body
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and not field.target.id.startswith("_")
    )


def resolve_lora(lora: str, model: str) -> str:
    """Returns the absolute folder of a LoRA adapter.

    Args:
        lora: Folder of the adapter.
        model: The resolved model; in a folder its weights must be of the adapter's shapes.

    Raises:
        TeacherError: There is no such folder, it holds no adapter, or one for another model.
    """
    folder = Path(lora).expanduser()
    if not (folder / "adapter_config.json").is_file():
        missing = "has no adapter_config.json" if folder.is_dir() else "is no folder"
        raise TeacherError(
            f"teacher.lora={lora} {missing}. Set teacher.lora to the folder of a LoRA adapter, as "
            "peft saves it."
        )
    # vLLM writes smaller matrices into a corner of the larger ones without a word.
    base, adapter = _shapes(Path(model), "*.safetensors"), _shapes(folder, "adapter_*.safetensors")
    for name, shape in adapter.items():
        layer, _, part = name.removeprefix("base_model.model.").partition(".lora_")
        weight = base.get(f"{layer}.weight", ())
        side = {"A.weight": 1, "B.weight": 0}.get(part)
        # Some formats pack a quantised weight into one column.
        if side is None or len(weight) != 2 or 1 in weight or shape[side] == weight[side]:
            continue
        raise TeacherError(
            f"teacher.lora={lora} was trained on another model: its {name} has the shape {shape}, "
            f"and {layer} of {model} is {weight}. Set teacher.lora to an adapter of this model, or "
            "teacher.model to the adapter's."
        )
    return str(folder.absolute())


def _shapes(folder: Path, pattern: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the tensors in a folder's safetensors files, from their headers."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob(pattern)):
        try:
            with safe_open(path, "numpy") as tensors:
                names = tensors.keys()
                shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
        except SafetensorError as error:
            raise TeacherError(
                f"{path} cannot be read: {error}. Copy or download the file again."
            ) from error
    return shapes


def lora_identity(folder: str) -> str:
    """Identifies an adapter by the content of its configuration and weights."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("adapter_*")):
        digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return f"sha256:{digest.hexdigest()[:32]}"


def lora_arguments(folder: str) -> dict[str, Any]:
    """Returns the arguments of ``vllm.LLM`` for one adapter.

    Raises:
        TeacherError: The adapter is of another kind, or its rank is none that vLLM has room for.
    """
    settings = json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8"))
    rank = max((settings.get("r", 0), *settings.get("rank_pattern", {}).values()))
    room = [one for one in _LORA_RANKS if one >= rank]
    if settings.get("peft_type", "LORA") != "LORA" or rank < 1 or not room:
        raise TeacherError(
            f"teacher.lora={folder}: adapter_config.json describes an adapter of type "
            f"{settings.get('peft_type', 'LORA')} and rank {rank}. vLLM takes LoRA adapters of "
            f"ranks 1 to {_LORA_RANKS[-1]}; merge another one into the model's weights, and set "
            "teacher.model to the merged folder."
        )
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": room[0]}
