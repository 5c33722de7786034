"""Small tokenizers of the kinds that models have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

CORPUS = [
    "Text: play some music in the cafe\nAnswer: music",
    "Text: will the weather be cold\nAnswer: weather",
    "Text: a café with good food\nAnswer: food",
    "Text: хорошая музыка и погода\nAnswer: музыка",
    "Text: 音楽 を 聴く\nAnswer: 音楽",
    "Text: the museum of mushrooms, where we eat\nAnswer: food",
] * 20


def byte_level_bpe() -> Tokenizer:
    """GPT-2, Llama 3 and Qwen: bytes as letters, "Ġ" for a space."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    )
    return made


def unigram() -> Tokenizer:
    """SentencePiece's Unigram: "▁" for a space, which every text begins with."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    return made


def byte_fallback() -> Tokenizer:
    """Llama 2 and Mistral: "▁" for a space, one more before every text, and <0xE9> for the rest."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    spaced = [f"▁{word}" for line in CORPUS if line.isascii() for word in line.split()]
    made.train_from_iterator(
        spaced,
        trainers.BpeTrainer(
            vocab_size=420, special_tokens=["<unk>", *fallback], show_progress=False
        ),
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return made


def word_piece() -> Tokenizer:
    """BERT: "##" for what continues a word, and nothing for a space."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        CORPUS,
        trainers.WordPieceTrainer(vocab_size=160, special_tokens=["[UNK]"], show_progress=False),
    )
    return made


def words() -> Tokenizer:
    """Whole words, without any mark."""
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(
        CORPUS, trainers.WordLevelTrainer(special_tokens=["[UNK]"], show_progress=False)
    )
    return made


KINDS: dict[str, Callable[[], Tokenizer]] = {
    made.__name__: made for made in (byte_level_bpe, unigram, byte_fallback, word_piece, words)
}


def hugging_face(made: Tokenizer) -> Any:
    """The tokenizer with the interface of transformers."""
    return PreTrainedTokenizerFast(tokenizer_object=made)


LETTERS = bytes_to_unicode()
"""The letter of each byte in byte-level BPE."""


def decoded(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


SPELLINGS: dict[str, Callable[[bytes], str]] = {
    "plain": decoded,
    "bare": lambda data: decoded(data.removeprefix(b" ")),
    "sentencepiece": lambda data: decoded(data).replace(" ", "▁"),
    "byte fallback": lambda data: "".join(f"<0x{byte:02X}>" for byte in data),
    "escaped": lambda data: "bytes:" + "".join(f"\\x{byte:02x}" for byte in data),
    "byte-level": lambda data: "".join(LETTERS[byte] for byte in data),
}
"""How servers spell a token of these bytes."""
