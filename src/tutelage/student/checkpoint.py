"""Loading a student: from a pretrained encoder at the start of a run, from a run's ``student/`` folder afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tutelage.assets import EMBEDDED, ensure_asset
from tutelage.errors import ConfigError, DataError, StudentError

Pooling = Literal["mean", "first"]


def resolve_encoder(model: str) -> str:
    """The folder or hub id behind ``student.model``: "embedded" is the packaged encoder.

    Raises:
        ConfigError: it looks like a folder and is not there, or has no config.json.
    """
    if model == "embedded":
        return str(ensure_asset("student"))
    path = Path(model).expanduser()
    if path.exists():
        if not (path / "config.json").is_file():
            raise ConfigError(
                f"student.model={model} has no config.json, so it is no Hugging Face model folder."
            )
        return str(path)
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ConfigError(
            f"student.model={model} does not exist. Give a folder, a hub id such as {EMBEDDED['student'].hub_id}, or embedded."
        )
    return model


def _reached(model: str, action: Any) -> Any:
    """Run a ``from_pretrained`` and turn what it raises into one clear error."""
    from safetensors import SafetensorError

    try:
        return action()
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"student.model={model} could not be loaded: {first} Give a folder, a hub id that this machine can reach, or embedded."
        ) from error


def load_tokenizer(model: str, trust_remote_code: bool = False, *, by_word: bool = False) -> Any:
    """The tokenizer that belongs to ``student.model``; ``by_word`` for texts that come as words."""
    from transformers import AutoTokenizer

    folder = resolve_encoder(model)
    # RoBERTa's kind marks the space before a word, and would take single words for the beginnings of texts.
    options = {
        "trust_remote_code": trust_remote_code,
        **({"add_prefix_space": True} if by_word else {}),
    }
    return _reached(model, lambda: AutoTokenizer.from_pretrained(folder, **options))


def new_tagger(
    model: str, outputs: Sequence[str], trust_remote_code: bool = False, *, constrained: bool = True
) -> Any:
    """An encoder with a fresh head over every token, in float32: the model's own token classification.

    ``constrained`` goes into its config.json as ``constrained_tags``, so that raw texts are read as the run reads its own.
    """
    import torch
    from transformers import AutoModelForTokenClassification

    folder, options = (
        resolve_encoder(model),
        {"trust_remote_code": trust_remote_code, "dtype": torch.float32},
    )
    network = _reached(
        model,
        lambda: _under_new_head(
            AutoModelForTokenClassification, folder, **_names(outputs), **options
        ),
    )
    network.config.constrained_tags = constrained
    return network


def _under_new_head(loader: Any, folder: str, **options: Any) -> Any:
    """A pretrained encoder under a fresh head, without transformers' long report that the head is fresh.

    Raises:
        ValueError: what is missing is not the head alone.
    """
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        network, found = loader.from_pretrained(folder, output_loading_info=True, **options)
    finally:
        transformers_logging.set_verbosity(verbosity)
    # A pooler is a part of the head: encoders trained on masked words have none.
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
) -> Any:
    """An encoder with a fresh head over the text, in float32. "mean" pools all tokens; "first" is the model's own classification head."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    from tutelage.student.network import MeanPooledConfig, MeanPooledForSequenceClassification

    if pooling not in ("mean", "first"):
        raise ConfigError(f"student.pooling={pooling}; give mean or first.")
    folder = resolve_encoder(model)
    names = _names(outputs)
    options = {"trust_remote_code": trust_remote_code, "dtype": torch.float32}
    if pooling == "first":
        return _reached(
            model,
            lambda: _under_new_head(AutoModelForSequenceClassification, folder, **names, **options),
        )
    encoder_config = _reached(
        model, lambda: AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    )
    network = MeanPooledForSequenceClassification(
        MeanPooledConfig(encoder=encoder_config.to_dict(), head_dropout=head_dropout, **names)
    )
    network.encoder = _reached(model, lambda: AutoModel.from_pretrained(folder, **options))
    return network


def save_student(folder: Path, network: Any, tokenizer: Any, max_length: int) -> None:
    """Write a Hugging Face folder: weights as safetensors, config with the label names, tokenizer."""
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "tutelage.json").write_text(
        json.dumps({"max_length": max_length}) + "\n", encoding="utf-8"
    )


def reads_words(config: dict[str, Any]) -> bool:
    """True where a model's config.json says that it decides about tokens."""
    return any(
        name.endswith("ForTokenClassification") for name in config.get("architectures") or ()
    )


def load_student(folder: Path) -> tuple[Any, Any, int]:
    """Network (in evaluation mode), tokenizer and the length in tokens that texts were cut to, from a ``student/`` folder.

    No code from the folder is run.

    Raises:
        DataError: the folder is missing or not whole.
        StudentError: its weights do not fit.
    """
    from safetensors import SafetensorError
    from transformers import (
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
    )

    from tutelage.student.network import MeanPooledConfig, MeanPooledForSequenceClassification

    config_path = folder / "config.json"
    if not config_path.is_file():
        raise DataError(
            f"{folder} holds no student (no config.json). A run writes it when it is done; is this a finished run's folder?"
        )
    config = json.loads(config_path.read_text(encoding="utf-8"))
    loader = (
        MeanPooledForSequenceClassification
        if config.get("model_type") == MeanPooledConfig.model_type
        else (
            AutoModelForTokenClassification
            if reads_words(config)
            else AutoModelForSequenceClassification
        )
    )
    try:
        network = loader.from_pretrained(folder)
        # With the config in hand it does not look for one itself, which would ask whether to run the folder's own code.
        tokenizer = AutoTokenizer.from_pretrained(folder, config=network.config)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise StudentError(f"The student in {folder} could not be loaded: {error}") from error
    marks = folder / "tutelage.json"
    max_length = (
        json.loads(marks.read_text(encoding="utf-8"))["max_length"] if marks.is_file() else 128
    )
    return network.eval(), tokenizer, int(max_length)
