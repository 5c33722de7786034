"""Model settings: the folder or hub id behind one, its content hash, and its tokenizer."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage.assets import LARGER, asset_path, asset_ready, ensure_asset, hub_out_of_reach
from tutelage.errors import TeacherError, did_you_mean
from tutelage.teacher.base import Prompt
from tutelage.teacher.chat import answers_messages, render_ids

_IDENTITY = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
"""Files besides the weights with an influence on answers."""
_VERY_SMALL = 300_000_000
"""Models with fewer parameters are asked as completion models."""
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)


def resolve_model(model: str) -> str:
    """Returns the folder or hub id behind a model setting.

    Args:
        model: A folder, a Hugging Face hub id, the name of a larger teacher (see ``tutelage
            assets``), or "embedded", which unpacks the embedded model first.

    Raises:
        TeacherError: ``model`` is empty, looks like a path without a model, or is the name of a
            larger teacher that is not on this machine.
        AssetError: The embedded model could not be prepared.
    """
    if model == "embedded":
        return str(ensure_asset("teacher"))
    if model in LARGER:
        # Half a gigabyte and more: a run does not download that by itself.
        if not asset_ready(model):
            raise TeacherError(
                f"teacher.model={model} is not on this machine ({asset_path(model)}). Run "
                f"`tutelage assets {model}`, which downloads {LARGER[model].megabytes} MB."
            )
        return str(asset_path(model))
    if not model.strip():
        raise TeacherError("teacher.model is empty. Set it to a folder, a hub id, or `embedded`.")
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
    if _looks_like_a_path(model):
        raise TeacherError(
            f"teacher.model={model}: there is no such folder. "
            f"{did_you_mean('folder', str(path), _folders_beside(path))}"
        )
    return model


def _looks_like_a_path(name: str) -> bool:
    """Whether a name is a misspelt folder rather than a hub id, which has one slash at most."""
    return name.startswith(("/", ".", "~")) or name.count("/") > 1 or os.sep + os.sep in name


def _folders_beside(path: Path) -> list[str]:
    if not path.parent.is_dir():
        return []
    return [str(entry) for entry in path.parent.iterdir() if entry.is_dir()][:20]


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
            f"the tokenizer of {model} cannot be loaded: {reason.rstrip('.')}. Check the folder or "
            "the hub id, or use another one."
        ) from error


def find_tokenizer(name: str) -> Any:
    """Loads the tokenizer that ``teacher.tokenizer`` names.

    Args:
        name: A folder with a tokenizer, a tokenizer.json, or a hub id. Files of the hub that are on
            this machine are not looked up again.

    Raises:
        TeacherError: There is no such tokenizer, it cannot be read, or the hub is out of reach.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return _from_file(path, name)
    if path.is_dir():
        if not any((path / file).is_file() for file in _TOKENIZER_FILES):
            raise TeacherError(
                f"teacher.tokenizer={name}: the folder {path} has no tokenizer (none of "
                f"{', '.join(_TOKENIZER_FILES[:3])}). Set teacher.tokenizer to the folder, the "
                "tokenizer.json or the hub id of the model's tokenizer."
            )
        try:
            return _auto_tokenizer(str(path), local_files_only=True)
        except Exception as error:  # tokenizers raises Exception itself for a file it cannot read
            if (path / "tokenizer.json").is_file():
                return _from_file(path / "tokenizer.json", name)
            raise _no_tokenizer(name, error) from error
    if _looks_like_a_path(name):
        raise TeacherError(
            f"teacher.tokenizer={name}: there is no such folder. "
            f"{did_you_mean('folder', str(path), _folders_beside(path))}"
        )
    try:
        return _auto_tokenizer(name, local_files_only=True)
    except Exception as error:
        if reason := hub_out_of_reach():
            raise TeacherError(
                f"the tokenizer {name} is not on this machine, and {reason}. Set "
                "teacher.tokenizer to a folder or a tokenizer.json."
            ) from error
    try:
        return _auto_tokenizer(name)
    except Exception as error:
        raise _no_tokenizer(name, error) from error


def _auto_tokenizer(name: str, **settings: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **settings)


def _from_file(path: Path, name: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    try:
        return PreTrainedTokenizerFast(tokenizer_file=str(path))
    except Exception as error:  # tokenizers raises Exception itself for a file it cannot read
        raise _no_tokenizer(name, error) from error


def _no_tokenizer(name: str, error: Exception) -> TeacherError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return TeacherError(
        f"teacher.tokenizer={name} cannot be loaded: {lines[0][:200]}. Set teacher.tokenizer to "
        "the folder, the tokenizer.json or the hub id of the model's tokenizer."
    )


def token_ids(tokenizer: Any, texts: Sequence[Prompt]) -> list[list[int]]:
    """Returns the token ids of each text, without special tokens; a chat's by its template."""
    plain = [text for text in texts if isinstance(text, str)]
    ids = iter(tokenizer(plain, add_special_tokens=False)["input_ids"] if plain else [])
    return [
        list(map(int, next(ids))) if isinstance(text, str) else render_ids(tokenizer, text)
        for text in texts
    ]


def suits_chat(model: str, tokenizer: Any) -> bool:
    """Returns whether a model is better asked in messages than by a text to continue.

    It was trained to answer messages, and it is no very small model: SmolLM2-135M-Instruct labels
    better as a completion model (docs/results/labelling.md, "Ways of asking").

    Args:
        model: A resolved model; see :func:`resolve_model`.
        tokenizer: Its tokenizer.
    """
    from transformers import GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(model, local_files_only=is_local(model))
        ends = config.eos_token_id
    except (OSError, ValueError):
        ends = None
    if ends is None:
        ends = tokenizer.eos_token_id
    known = [ends] if isinstance(ends, int) else list(ends or ())
    return answers_messages(tokenizer, known) and not 0 < parameters(model) < _VERY_SMALL


def parameters(model: str) -> int:
    """Returns the number of values in a folder's safetensors files; 0 if there is none."""
    count = 0
    for path in Path(model).glob("*.safetensors") if is_local(model) else ():
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            header = json.loads(handle.read(min(length, 1 << 26)))
        count += sum(
            math.prod(one["shape"]) for name, one in header.items() if name != "__metadata__"
        )
    return count
