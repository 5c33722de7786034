"""Which model a setting names, what identifies its content, and its tokenizer."""

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
"""Files, besides the weights, that change an answer."""


def resolve_model(model: str) -> str:
    """Return the folder or hub id that ``model`` stands for; "embedded" is made ready first.

    Raises:
        TeacherError: ``model`` looks like a path and no model lies there.
        AssetError: the embedded model could not be made.
    """
    if model == "embedded":
        return str(ensure_asset("teacher"))
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise TeacherError(
                f"teacher.model={model}: the folder {path} has no config.json; give a Hugging Face model folder."
            )
        return str(path)
    if path.exists():
        raise TeacherError(
            f"teacher.model={model} is a file; give the folder that holds it together with config.json."
        )
    if model.startswith(("/", ".", "~")) or model.count("/") > 1 or os.sep + os.sep in model:
        nearby = (
            [str(entry) for entry in path.parent.iterdir() if entry.is_dir()]
            if path.parent.is_dir()
            else []
        )
        raise TeacherError(
            f"teacher.model={model}: there is no such folder. {did_you_mean('folder', str(path), nearby[:20])}"
        )
    if not model.strip():
        raise TeacherError("teacher.model is empty; give a folder, a hub id, or `embedded`.")
    return model


def is_local(model: str) -> bool:
    """True when a resolved model is a folder, so that no hub is needed for it."""
    return Path(model).is_dir()


def model_identity(model: str, revision: str = "") -> str:
    """Name the content of a resolved model, cheaply: no weight is read.

    A folder is named by its configuration and tokenizer files and by the header and size of each weight file, so that a copy
    elsewhere shares the cache; a hub id by itself and its revision.
    """
    if not is_local(model):
        return f"{model}@{revision or 'main'}"
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
        # The header says names, shapes and offsets only; a slice of the numbers tells a fine-tuned copy from its base.
        samples = []
        size = path.stat().st_size
        for share in (0.1, 0.5, 0.9):
            handle.seek(int(size * share))
            samples.append(handle.read(4096))
        return hashlib.sha256(header + b"".join(samples)).digest()


def fingerprint_of(engine: str, **settings: Any) -> str:
    """Join an engine's name and the settings that change its answers into one readable fingerprint."""
    return f"{engine}:{json.dumps(settings, sort_keys=True, separators=(',', ':'))}"


def load_tokenizer(model: str, revision: str = "", *, trust_remote_code: bool = False) -> Any:
    """The Hugging Face tokenizer of a resolved model.

    Raises:
        TeacherError: there is none, or it cannot be read.
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
        raise TeacherError(
            f"the tokenizer of {model} cannot be loaded: {str(error).strip().splitlines()[0] if str(error) else type(error).__name__}. "
            "Check the folder or the hub id, or give another one."
        ) from error


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, with no special tokens added."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [list(map(int, row)) for row in ids]
