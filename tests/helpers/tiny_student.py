"""A tiny BERT with a tokenizer of a few words, saved as a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tests.helpers.classification import NAMES, WORDS
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tutelage.selectors.row_selection import EveryRow
from tutelage.student.module import StudentModule
from tutelage.student.schedule import RateSchedule

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
KNOWN_WORDS = (*(name.lower() for name in NAMES), *WORDS)


def tiny_tokenizer(
    words: Iterable[str] = KNOWN_WORDS, max_positions: int = 64
) -> PreTrainedTokenizerFast:
    """WordPiece over ``words``, digits and letters."""
    pieces = dict.fromkeys([*SPECIAL, *words, *CHARACTERS, *(f"##{sign}" for sign in CHARACTERS)])
    inner = Tokenizer(
        WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    inner.normalizer = BertNormalizer(lowercase=True)
    inner.pre_tokenizer = BertPreTokenizer()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_positions,
    )


def tiny_encoder(
    folder: Path, seed: int = 0, words: Iterable[str] = KNOWN_WORDS, max_positions: int = 64
) -> Path:
    """Saves an encoder (one layer, width 16, random weights) and its tokenizer in ``folder``."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(words, max_positions)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=max_positions,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_network(
    folder: Path, pooling: Any = "mean", head_dropout: float = 0.0, seed: int = 1
) -> Any:
    """A classifier over the labels of :mod:`tests.helpers.classification`."""
    from tutelage.student.checkpoint import new_classifier

    torch.manual_seed(seed)
    return new_classifier(str(folder), NAMES, pooling, head_dropout)


def untaught(network: Any, task: Any) -> StudentModule:
    """A student whose loss nobody asks for, for tests of its features."""
    return StudentModule(
        network.train(),
        task,
        torch.nn.Identity(),  # type: ignore[arg-type]
        RateSchedule(),
        EveryRow(),
        batch_size=4,
        learning_rate=1e-3,
        head_learning_rate=1e-2,
        weight_decay=0.0,
    )
