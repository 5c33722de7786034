"""Model settings: the folder or hub id behind one, its content hash, and its tokenizer."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage.assets import ensure_asset
from tutelage.errors import TeacherError, did_you_mean

_IDENTITY = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
"""Files besides the weights with an influence on answers."""


def resolve_model(model: str) -> str:
    """Returns the folder or hub id behind a model setting.

    Args:
        model: A folder, a Hugging Face hub id, or "embedded", which unpacks the embedded model
            first.

    Raises:
        TeacherError: ``model`` is empty, or looks like a path without a model.
        AssetError: The embedded model could not be prepared.
    """
    if model == "embedded":
        return str(ensure_asset("teacher"))
    # An existing path wins over a hub id of the same name.
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise TeacherError(
                f"teacher.model={model}: the folder {path} has no config.json. Set teacher.model "
                "to a Hugging Face model folder."
            )
        return str(path)
    if path.exists():
        raise TeacherError(
            f"teacher.model={model} is a file. Set teacher.model to the folder with this file and "
            "config.json."
        )
    # A hub id has at most one slash. Anything else that looks like a path is a misspelt folder.
    if model.startswith(("/", ".", "~")) or model.count("/") > 1 or os.sep + os.sep in model:
        nearby = (
            [str(entry) for entry in path.parent.iterdir() if entry.is_dir()]
            if path.parent.is_dir()
            else []
        )
        raise TeacherError(
            f"teacher.model={model}: there is no such folder. "
            f"{did_you_mean('folder', str(path), nearby[:20])}"
        )
    if not model.strip():
        raise TeacherError("teacher.model is empty. Set it to a folder, a hub id, or `embedded`.")
    return model


def is_local(model: str) -> bool:
    """Whether a resolved model is a folder, so that loading it needs no hub."""
    return Path(model).is_dir()


def model_identity(model: str, revision: str = "") -> str:
    """Identifies the content of a resolved model without reading its weights in full.

    A folder is identified by its configuration and tokenizer files and by the size, header and a
    few samples of each weight file, so that copies of a model share the cache.

    Args:
        model: A resolved model; see :func:`resolve_model`.
        revision: Hub revision; "" is the main branch. Ignored for a folder.

    Returns:
        "sha256:" and 32 hex digits for a folder, "<hub id>@<revision>" otherwise.
    """
    if not is_local(model):
        return f"{model}@{revision or 'main'}"
    # Small files in full, weight files by a sample.
    folder = Path(model)
    digest = hashlib.sha256()
    for name in _IDENTITY:
        if (folder / name).is_file():
            digest.update(
                f"{name}\0".encode() + hashlib.sha256((folder / name).read_bytes()).digest()
            )
    for path in sorted(
        [*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.gguf")]
    ):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + _header(path))
    return f"sha256:{digest.hexdigest()[:32]}"


def _header(path: Path) -> bytes:
    with path.open("rb") as handle:
        if path.suffix != ".safetensors":
            return handle.read(1 << 16)
        (length,) = struct.unpack("<Q", handle.read(8))
        header = handle.read(min(length, 1 << 24))
        # The header holds names, shapes and offsets only. Samples of the weights tell a fine-tuned
        # copy from its base model.
        samples = []
        size = path.stat().st_size
        for share in (0.1, 0.5, 0.9):
            handle.seek(int(size * share))
            samples.append(handle.read(4096))
        return hashlib.sha256(header + b"".join(samples)).digest()


def fingerprint_of(engine: str, **settings: Any) -> str:
    """Joins an engine's name and all settings that change its answers into one readable string."""
    return f"{engine}:{json.dumps(settings, sort_keys=True, separators=(',', ':'))}"


def load_tokenizer(model: str, revision: str = "", *, trust_remote_code: bool = False) -> Any:
    """Loads the Hugging Face tokenizer of a resolved model.

    Args:
        model: A resolved model; see :func:`resolve_model`.
        revision: Hub revision; "" is the main branch.
        trust_remote_code: Whether to run code shipped with the model.

    Raises:
        TeacherError: The model has no tokenizer, or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            model,
            revision=revision or None,
            trust_remote_code=trust_remote_code,
            local_files_only=is_local(model),
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise TeacherError(
            f"the tokenizer of {model} cannot be loaded: {reason}. Check the folder or the hub "
            "id, or use another one."
        ) from error


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Returns the token ids of each text, without special tokens."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [list(map(int, row)) for row in ids]
