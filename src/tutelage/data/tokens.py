"""Texts as token ids, with the positions at which the student's predictions are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tutelage.errors import ConfigError
from tutelage.tasks.protocol import Head
from tutelage.tasks.spans import first_pieces


class TextForm(Protocol):
    """The part of a task that decides how texts are tokenised."""

    @property
    def head(self) -> Head:
        """Head of the student."""
        ...

    def model_input(self, text: str) -> str | list[str]:
        """Return a text in the form the tokenizer reads: the text itself, or its words."""
        ...


class Tokens:
    """A batch of tokenised texts.

    Attributes:
        ids: Token ids of each text, special tokens included.
    """

    def __init__(self, encoded: Any, given: Sequence[str | list[str]], head: Head) -> None:
        self.ids: list[list[int]] = encoded["input_ids"]
        self._encoded = encoded
        self._given = given
        self._head = head

    def positions(self, index: int) -> tuple[int, ...]:
        """Positions in the student's output at which one text is read.

        Args:
            index: Index of the text in the batch.

        Returns:
            For a token head the first token of each word, -1 for a word without one. A sequence
            head has a single prediction per text, at position 0.
        """
        if self._head == "token":
            return first_pieces(self._encoded.word_ids(index), len(self._given[index]))
        return (0,)


def tokenize(tokenizer: Any, form: TextForm, texts: Sequence[str], **options: Any) -> Tokens:
    """Tokenise texts as the task's student reads them.

    Args:
        tokenizer: A Hugging Face tokenizer, accepted by :func:`check_tokenizer`.
        form: The task.
        texts: The texts.
        **options: Further arguments of the tokenizer, such as ``truncation``.
    """
    given = [form.model_input(text) for text in texts]
    encoded = tokenizer(given, is_split_into_words=form.head == "token", **options)
    return Tokens(encoded, given, form.head)


def check_tokenizer(tokenizer: Any, form: TextForm) -> None:
    """Check that a tokenizer suits the task's student.

    Raises:
        ConfigError: It has no padding token, or cannot assign tokens to words for a token head.
    """
    if tokenizer.pad_token_id is None:
        raise ConfigError(
            f"The tokenizer of {tokenizer.name_or_path} has no padding token; "
            "choose another student.model=."
        )
    if form.head == "token" and not tokenizer.is_fast:
        raise ConfigError(
            f"The tokenizer of {tokenizer.name_or_path} is not a fast one, "
            "so it cannot assign tokens to words; choose another student.model=."
        )
