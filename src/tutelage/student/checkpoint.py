"""Creating and saving students.

A run starts from a pretrained encoder and writes a Hugging Face folder, ``student/``, which
:mod:`tutelage.student.loading` reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from tutelage.assets import EMBEDDED, ensure_asset
from tutelage.errors import ConfigError
from tutelage.tasks.protocol import Head

Pooling = Literal["mean", "normalized_mean", "first"]
Encoder = Literal["transformer", "static"]

PEER = "peer"
"""Folder of the second network below that of the first (``student.peers=2``)."""

ONNX_FILE = "model.onnx"
"""The graph in the folder of an export to ONNX."""

_TOKENIZER_OPTIONS: dict[Head, dict[str, Any]] = {
    "sequence": {},
    # RoBERTa-style tokenizers mark the space before a word; single words have none.
    "token": {"add_prefix_space": True},
}


def resolve_encoder(model: str) -> str:
    """Folder or hub id of an encoder; "embedded" is the packaged one.

    Args:
        model: The setting ``student.model``: "embedded", a folder, or a hub id.

    Raises:
        ConfigError: ``model`` looks like a folder but does not exist, or has no config.json.
    """
    if model == "embedded":
        return str(ensure_asset("student"))
    path = Path(model).expanduser()
    if path.exists():
        if not (path / "config.json").is_file():
            raise ConfigError(
                f"student.model={model} has no config.json, so it is not a Hugging Face model "
                "folder."
            )
        return str(path)
    # A hub id has at most one slash and no path prefix.
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ConfigError(
            f"student.model={model} does not exist. Give a folder, a hub id such as "
            f"{EMBEDDED['student'].hub_id}, or embedded."
        )
    return model


def _load(model: str, action: Any) -> Any:
    """Runs a ``from_pretrained`` call, turning its errors into a single ConfigError."""
    try:
        return action()
    except Exception as error:
        # A damaged folder makes transformers raise nearly anything. The first line names the
        # cause; the rest is transformers' advice.
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"student.model={model} could not be loaded: {first} Give a folder, a hub id this "
            "machine can reach, or embedded."
        ) from error


def load_tokenizer(model: str, trust_remote_code: bool = False, *, head: Head = "sequence") -> Any:
    """Tokenizer of ``student.model``.

    Args:
        model: The setting ``student.model``.
        trust_remote_code: Whether to run code from the model's repository.
        head: Head of the student; with "token", texts are passed as lists of words.
    """
    from transformers import AutoTokenizer

    folder = resolve_encoder(model)
    options = {"trust_remote_code": trust_remote_code, **_TOKENIZER_OPTIONS[head]}
    tokenizer = _load(model, lambda: AutoTokenizer.from_pretrained(folder, **options))
    if head == "token":
        _mark_spaces(tokenizer)
    return tokenizer


def _mark_spaces(tokenizer: Any) -> None:
    """Marks the space before each word where a byte-level tokenizer ignored the option.

    ModernBERT's tokenizer is one: it has no class of its own in transformers.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    whole: Any = getattr(getattr(tokenizer, "backend_tokenizer", None), "pre_tokenizer", None)
    # One step or several; a step is shared with the tokenizer, so that setting it is enough.
    steps: list[Any] = [*whole] if hasattr(whole, "__getitem__") else [whole]
    for step in steps:
        if isinstance(step, ByteLevel):
            step.add_prefix_space = True


def new_network(
    head: Head,
    model: str,
    outputs: Sequence[str],
    *,
    pooling: Pooling,
    head_dropout: float,
    trust_remote_code: bool = False,
    saved: Mapping[str, Any] | None = None,
    encoder: Encoder = "transformer",
) -> Any:
    """An encoder with a new head, in float32.

    Args:
        head: The head: "sequence" or "token".
        model: The setting ``student.model``.
        outputs: Names of the output classes.
        pooling: For a sequence head; see :func:`new_classifier`.
        head_dropout: For a sequence head; see :func:`new_classifier`.
        trust_remote_code: Whether to run code from the model's repository.
        saved: Values for the network's config.json, so that prediction decodes raw texts like the
            run; see :attr:`tutelage.tasks.protocol.Task.student_settings`.
        encoder: For a sequence head; see :func:`new_classifier`.
    """
    if head == "token":
        network = new_tagger(model, outputs, trust_remote_code)
    else:
        network = new_classifier(model, outputs, pooling, head_dropout, trust_remote_code, encoder)
    network.config.update(dict(saved or {}))
    return network


def new_tagger(model: str, outputs: Sequence[str], trust_remote_code: bool = False) -> Any:
    """An encoder with a new token classification head, in float32.

    Args:
        model: The setting ``student.model``.
        outputs: Names of the output classes.
        trust_remote_code: Whether to run code from the model's repository.
    """
    import torch
    from transformers import AutoModelForTokenClassification

    folder, options = (
        resolve_encoder(model),
        {"trust_remote_code": trust_remote_code, "dtype": torch.float32},
    )
    return _load(
        model,
        lambda: _with_new_head(
            AutoModelForTokenClassification, folder, **_names(outputs), **options
        ),
    )


def _with_new_head(loader: Any, folder: str, **options: Any) -> Any:
    """Loads a pretrained encoder under a new head, without transformers' report about the new head.

    Raises:
        ValueError: Weights other than the head's are missing.
    """
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        network, found = loader.from_pretrained(folder, output_loading_info=True, **options)
    finally:
        transformers_logging.set_verbosity(verbosity)
    # A pooler belongs to the head: encoders trained on masked words have none.
    body = f"{network.base_model_prefix}."
    if lost := sorted(
        name for name in found["missing_keys"] if name.startswith(body) and ".pooler." not in name
    ):
        raise ValueError(f"its weights lack {len(lost)} of the encoder's ({lost[0]}, …).")
    return network


def _names(outputs: Sequence[str]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(outputs)),
        "label2id": {name: index for index, name in enumerate(outputs)},
    }


def new_classifier(
    model: str,
    outputs: Sequence[str],
    pooling: Pooling,
    head_dropout: float,
    trust_remote_code: bool = False,
    encoder: Encoder = "transformer",
) -> Any:
    """An encoder with a new text classification head, in float32.

    Args:
        model: The setting ``student.model``.
        outputs: Names of the output classes.
        pooling: "mean" over all tokens, "normalized_mean" for the mean scaled to length 1, or
            "first" for the model's own classification head.
        head_dropout: Dropout probability before the linear head; not with "first".
        trust_remote_code: Whether to run code from the model's repository.
        encoder: "transformer", or "static" for the model's token vectors alone; not with "first".

    Raises:
        ConfigError: ``pooling`` is unknown or does not suit the encoder, or the model cannot be
            loaded.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from tutelage.student.network import MeanPooledConfig, MeanPooledForSequenceClassification

    if pooling not in get_args(Pooling):
        raise ConfigError(
            f"Unknown student.pooling={pooling}. Give mean, normalized_mean or first."
        )
    folder = resolve_encoder(model)
    names = _names(outputs)
    if encoder == "static":
        return _static_classifier(model, pooling, head_dropout, trust_remote_code, names)
    options = {"trust_remote_code": trust_remote_code, "dtype": torch.float32}
    # transformers' own classification model, with its usual head.
    if pooling == "first":
        return _load(
            model,
            lambda: _with_new_head(AutoModelForSequenceClassification, folder, **names, **options),
        )
    # Build the network from the encoder's configuration, then load the encoder's weights.
    encoder_config = _load(
        model, lambda: AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    )
    network = MeanPooledForSequenceClassification(
        MeanPooledConfig(
            encoder=encoder_config.to_dict(),
            head_dropout=head_dropout,
            normalize=pooling == "normalized_mean",
            **names,
        )
    )
    network.encoder = load_encoder(model, trust_remote_code)
    return network


def _static_classifier(
    model: str,
    pooling: Pooling,
    head_dropout: float,
    trust_remote_code: bool,
    names: Mapping[str, Any],
) -> Any:
    """A table of token vectors with a new head."""
    import torch

    from tutelage.student.distilling import token_table
    from tutelage.student.network import (
        MeanPooledConfig,
        MeanPooledForSequenceClassification,
        StaticConfig,
    )

    if pooling == "first":
        raise ConfigError(
            "student.encoder=static has no classification head of its own, so student.pooling=first"
            " has nothing to read. Give student.pooling=normalized_mean, or "
            "student.encoder=transformer."
        )
    # Weights that a checkpoint lacks (a pooler's) are drawn; the run's draws stay its own.
    with torch.random.fork_rng(devices=[]):
        whole = load_encoder(model, trust_remote_code)
    table = token_table(whole, load_tokenizer(model, trust_remote_code))
    sizes = {"vocab_size": len(table), "hidden_size": table.shape[1]}
    network = MeanPooledForSequenceClassification(
        MeanPooledConfig(
            encoder=StaticConfig(**sizes).to_dict(),
            head_dropout=head_dropout,
            normalize=pooling == "normalized_mean",
            **names,
        )
    )
    network.encoder.table.weight.data.copy_(table)
    return network


def load_encoder(model: str, trust_remote_code: bool = False) -> Any:
    """An encoder with its pretrained weights, in float32.

    Args:
        model: The setting ``student.model``.
        trust_remote_code: Whether to run code from the model's repository.
    """
    import torch
    from transformers import AutoModel

    folder = resolve_encoder(model)
    options = {"trust_remote_code": trust_remote_code, "dtype": torch.float32}
    return _load(model, lambda: AutoModel.from_pretrained(folder, **options))


def save_student(folder: Path, network: Any, tokenizer: Any, max_length: int) -> None:
    """Writes a Hugging Face folder: safetensors weights, config with the label names, tokenizer.

    The second of two networks has a whole folder of its own, ``peer/`` below the first one's.

    Args:
        folder: Destination.
        network: The student's network.
        tokenizer: The student's tokenizer.
        max_length: Length in tokens texts are cut to, saved in tutelage.json.
    """
    from tutelage.student.peers import networks_of

    networks = networks_of(network)
    marks = {"max_length": max_length, **({"peers": len(networks)} if len(networks) > 1 else {})}
    _save(folder, networks[0], tokenizer, marks)
    for peer in networks[1:]:
        _save(folder / PEER, peer, tokenizer, {"max_length": max_length})


def _save(folder: Path, network: Any, tokenizer: Any, marks: Mapping[str, Any]) -> None:
    network.save_pretrained(folder)
    if tokenizer.is_fast:
        # Otherwise the file would hold the settings of the last call, whichever that was.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    own = folder / "tutelage.json"
    own.write_text(json.dumps(marks) + "\n", encoding="utf-8")
    # safetensors makes its files private; all files of a run follow the umask.
    for weights in folder.glob("*.safetensors"):
        weights.chmod(own.stat().st_mode & 0o777)
