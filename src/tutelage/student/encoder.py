"""Embeddings by the student's encoder as it was before any training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.student.checkpoint import load_encoder, load_tokenizer
from tutelage.student.observing import evaluating, mean_state

_KEPT = 20_000
"""Embeddings kept between calls; more only for the texts of one call."""


class PretrainedEncoder:
    """Embeds texts with pretrained weights, mean-pooled, on the CPU.

    What it returns does not depend on the student's training, so that prompts do not change from
    round to round. The weights are loaded at the first call.

    Args:
        model: The setting ``student.model``.
        max_length: Length in tokens to cut texts to, special tokens included.
        batch_size: Texts per forward pass.
        trust_remote_code: Whether to run code from the model's repository.
    """

    def __init__(
        self, model: str, max_length: int, batch_size: int = 64, trust_remote_code: bool = False
    ) -> None:
        self._model = model
        self._max_length = max_length
        self._batch_size = batch_size
        self._trust_remote_code = trust_remote_code
        self._loaded: tuple[Any, Any] | None = None
        # Requests are made once to be counted and once to be asked.
        self._kept: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the embeddings of texts, [N, D], of length 1 each.

        Those of the latest texts are kept.

        Args:
            texts: One or more texts.
        """
        if new := [text for text in dict.fromkeys(texts) if text not in self._kept]:
            if len(self._kept) + len(new) > _KEPT:
                self._kept = {text: self._kept[text] for text in texts if text in self._kept}
            self._kept.update(zip(new, self._embedded(new), strict=True))
        return np.stack([self._kept[text] for text in texts])

    def _embedded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        encoder, tokenizer = self._load()
        # Texts of similar length share a batch, to keep padding short.
        order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), index))
        rows: list[NDArray[np.float32]] = []
        with evaluating(encoder):
            for start in range(0, len(order), self._batch_size):
                inputs = tokenizer(
                    [texts[index] for index in order[start : start + self._batch_size]],
                    truncation=True,
                    max_length=self._max_length,
                    padding=True,
                    return_tensors="pt",
                )
                states = encoder(**inputs).last_hidden_state.float()
                means = mean_state(states, inputs["attention_mask"])
                rows.extend(torch.nn.functional.normalize(means, dim=-1).numpy())
        found = np.zeros((len(texts), len(rows[0])), dtype=np.float32)
        found[order] = rows
        return found

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            # Weights that a checkpoint lacks (a pooler's) are drawn; the run's draws stay its own.
            with torch.random.fork_rng(devices=[]), _no_progress_bar():
                encoder = load_encoder(self._model, self._trust_remote_code).eval()
            self._loaded = (encoder, load_tokenizer(self._model, self._trust_remote_code))
        return self._loaded


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """A progress bar of the weights would garble the run's progress display."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
