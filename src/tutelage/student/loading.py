"""Loads a saved student as data: nothing in its folder is run, unpickled or trusted to be sound.

The folder may come from somebody else, or may have been damaged on its way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError, DataError, StudentError
from tutelage.runs.files import runs_inside
from tutelage.student.checkpoint import ONNX_FILE, PEER
from tutelage.tasks.protocol import Head

_LOADERS: dict[Head, str] = {
    "sequence": "AutoModelForSequenceClassification",
    "token": "AutoModelForTokenClassification",
}
"""Class of transformers that loads a saved student, by head."""
_AS_DATA = {"trust_remote_code": False, "local_files_only": True}
"""Without these, transformers asks at a terminal whether to run the folder's code."""
_LONGEST_JSON = 256 * 2**20
_LARGEST_NUMBER = 10**7
"""In config.json: no dimension of a network is larger, and larger ones fill the memory."""
_USUAL_LENGTH = 128
"""For folders of other tools, which have no tutelage.json."""


def head_of(config: Mapping[str, Any]) -> Head:
    """Head of a saved student, from its config.json."""
    names = config.get("architectures")
    tagger = isinstance(names, list) and any(
        str(name).endswith("ForTokenClassification") for name in names
    )
    return "token" if tagger else "sequence"


def load_student(folder: Path) -> tuple[Any, Any, int]:
    """Loads a ``student/`` folder, or an export, without running any code from it.

    Args:
        folder: The folder.

    Returns:
        The network in evaluation mode, the tokenizer, and the length in tokens texts are cut to.
        Of a student with ``student.peers=2`` the network is both, whose mean predicts; of an
        export to ONNX it is the graph.

    Raises:
        ConfigError: The student is an export to ONNX, and onnxruntime is not installed.
        DataError: The folder is missing or incomplete.
        StudentError: The network or tokenizer cannot be loaded, or they do not fit together.
    """
    from tutelage.student.peers import PeerNetworks

    if (folder / ONNX_FILE).is_file():
        network, tokenizer = _load_graph(folder)
        return network, tokenizer, _max_length(folder, network)
    network, tokenizer = _load_one(folder)
    length = _max_length(folder, network)
    if _peers(folder) == 1:
        return network, tokenizer, length
    second, _ = _load_one(folder / PEER)
    if second.config.id2label != network.config.id2label:
        raise _damaged(folder, f"its {PEER}/ folder has other classes")
    return PeerNetworks([network, second]).eval(), tokenizer, length


def _load_one(folder: Path) -> tuple[Any, Any]:
    """Loads one network and its tokenizer."""
    import transformers
    from transformers.utils import logging

    from tutelage.student.network import MeanPooledConfig, MeanPooledForSequenceClassification

    # A folder without config.json is no student at all.
    if not (folder / "config.json").is_file():
        why = (
            runs_inside(folder)
            or "A run writes its student at the end; is this the folder of a finished run?"
            if folder.exists()
            else "There is no such folder. Give that of a finished run, outputs/<name>/<time>."
        )
        raise DataError(f"{folder} holds no student (no config.json). {why}")
    config = _object(folder / "config.json")
    _check_files(folder, config)
    # Our own class for mean pooling, transformers' for everything else.
    loader = (
        MeanPooledForSequenceClassification
        if config.get("model_type") == MeanPooledConfig.model_type
        else getattr(transformers, _LOADERS[head_of(config)])
    )
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        network, found = loader.from_pretrained(
            folder, output_loading_info=True, use_safetensors=True, **_AS_DATA
        )
        # Without the config it would look for one and ask whether to run the folder's code.
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, config=network.config, **_AS_DATA
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # An altered folder makes the libraries raise nearly anything, panics of Rust included.
        raise _not_loaded(folder, config, error) from error
    finally:
        logging.set_verbosity(verbosity)
    _check_weights(folder, network, found)
    _check_names(folder, network.config)
    return network.eval(), tokenizer


def _load_graph(folder: Path) -> tuple[Any, Any]:
    """Loads an export to ONNX and its tokenizer."""
    import transformers

    from tutelage.student.network import MeanPooledConfig
    from tutelage.student.onnx import OnnxNetwork

    config = _object(folder / "config.json")
    _check_files(folder, config)
    own = config.get("model_type") == MeanPooledConfig.model_type
    loader = MeanPooledConfig if own else transformers.AutoConfig
    try:
        settings = loader.from_pretrained(folder, **_AS_DATA)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, config=settings, **_AS_DATA)
        network = OnnxNetwork(folder / ONNX_FILE, settings)
    except (KeyboardInterrupt, SystemExit, ConfigError):
        raise
    except BaseException as error:
        raise _not_loaded(folder, config, error) from error
    _check_names(folder, settings)
    return network.eval(), tokenizer


def _object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LONGEST_JSON:
            raise ValueError(f"{path.stat().st_size:,} bytes are too many")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path.parent, f"{path.name} cannot be read: {error}") from error
    return found


def _check_files(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuses what asks for code or files from elsewhere, or for a network beyond all memory."""
    for key, value in _numbers(config):
        # A layer is built before its weights are looked for.
        most = 1000 if key.endswith("layers") else _LARGEST_NUMBER
        if key.startswith("rope"):
            continue
        if not math.isfinite(value) or abs(value) > most:
            raise _damaged(folder, f"config.json: {key} is {value!r}")
    encoder = config.get("encoder")
    for part in (config, encoder if isinstance(encoder, dict) else {}):
        # These may name code on the hub.
        for name in ("quantization_config", "attn_implementation", "_attn_implementation"):
            if part.get(name) is not None:
                raise _foreign_code(folder, f"{name} in config.json")
    tokenizer = folder / "tokenizer_config.json"
    if tokenizer.is_file() and "auto_map" in _object(tokenizer):
        raise _foreign_code(folder, f"auto_map in {tokenizer.name}")
    if (folder / "adapter_config.json").exists():
        raise _damaged(folder, "it is an adapter (adapter_config.json) and not a whole student")
    index = folder / "model.safetensors.index.json"
    files = _object(index).get("weight_map") if index.is_file() else {}
    if not isinstance(files, dict) or any(Path(str(one)).name != one for one in files.values()):
        raise _damaged(folder, f"{index.name} names files outside the folder")


def _numbers(node: Any, key: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _numbers(value, str(name))
    elif isinstance(node, list):
        for value in node:
            yield from _numbers(value, key)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield key, node


def _check_weights(folder: Path, network: Any, found: Mapping[str, Any]) -> None:
    """Refuses weights that are not those of the network: it would predict at random."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = sorted(map(str, found.get(kind) or ()))
        # Checkpoints of older versions hold the numbers of the positions.
        if names := [name for name in names if not name.endswith("position_ids")]:
            what = kind.removesuffix("_keys")
            raise _damaged(folder, f"{len(names)} of its weights are {what} ({names[0]}, …)")
    for name, values in network.state_dict().items():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise _damaged(folder, f"its weights hold what is no number ({name})")


def _check_names(folder: Path, config: Any) -> None:
    names = [config.id2label.get(index) for index in range(config.num_labels)]
    if not names or not all(isinstance(name, str) for name in names):
        raise _damaged(folder, "id2label in config.json does not name each class by its number")
    if len({*names}) < len(names):
        raise _damaged(folder, "id2label in config.json gives two classes one name")


def _marks(folder: Path) -> dict[str, Any]:
    path = folder / "tutelage.json"
    return _object(path) if path.is_file() else {"max_length": _USUAL_LENGTH}


def _peers(folder: Path) -> int:
    given = _marks(folder).get("peers", 1)
    if isinstance(given, bool) or given not in (1, 2):
        raise _damaged(folder, f"tutelage.json: peers is {given!r} and neither 1 nor 2")
    return int(given)


def _max_length(folder: Path, network: Any) -> int:
    given = _marks(folder).get("max_length")
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise _damaged(folder, f"tutelage.json: max_length is {given!r} and not a number of tokens")
    # Beyond its positions a network cannot read.
    encoder = getattr(network.config, "encoder", None) or network.config.to_dict()
    positions = encoder.get("max_position_embeddings")
    return min(given, positions) if isinstance(positions, int) and positions > 0 else given


def _not_loaded(folder: Path, config: Mapping[str, Any], error: BaseException) -> StudentError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if "trust_remote_code" in str(error):
        return _foreign_code(folder, f"model_type {config.get('model_type')!r}")
    reason = (
        lines[0]
        if isinstance(error, OSError | ValueError)
        else (f"{type(error).__name__}: {lines[0]}")
    )
    return _damaged(folder, reason[:300])


def _foreign_code(folder: Path, what: str) -> StudentError:
    return StudentError(
        f"The student in {folder} could not be loaded: it asks for code of its own ({what}), and "
        "tutelage runs no code from a student's folder. If you trust whoever made it, load it in "
        "Python with transformers' from_pretrained(…, trust_remote_code=True)."
    )


def _damaged(folder: Path, reason: str) -> StudentError:
    return StudentError(
        f"The student in {folder} could not be loaded: {reason.rstrip('.')}. Its files are not as "
        "a run wrote them; copy the folder again, or do the run again."
    )
