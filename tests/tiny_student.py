"""A BERT of a few hundred weights with a tokenizer of a few words, as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tests.classroom import NAMES, WORDS
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece over the classroom's words, digits and letters."""
    pieces = [*SPECIAL, *(name.lower() for name in NAMES), *WORDS, *"abcdefghijklmnopqrstuvwxyz0123456789"]
    vocabulary = {piece: place for place, piece in enumerate([*pieces, *(f"##{mark}" for mark in "abcdefghijklmnopqrstuvwxyz0123456789")])}
    inner = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = BertPreTokenizer()
    inner.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    )


def tiny_encoder(folder: Path, seed: int = 0) -> Path:
    """Write the encoder and its tokenizer into ``folder``."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_network(folder: Path, pooling: Any = "mean", head_dropout: float = 0.0, seed: int = 1) -> Any:
    """A classifier over the classroom's labels, from the encoder in ``folder``."""
    from tests.classroom import LABELS

    from tutelage.student.checkpoint import new_classifier

    torch.manual_seed(seed)
    return new_classifier(str(folder), LABELS, pooling, head_dropout)
