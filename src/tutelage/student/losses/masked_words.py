"""Guessing masked words of all texts beside the classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.observing import network_and_states

CHANGED, REPLACED = 0.9, 0.1
"""Of the tokens to guess, the share that the student does not see, and that of random tokens."""


class MaskedWordsLoss(CrossEntropyLoss):
    """CE + weight * MLM, where MLM guesses masked tokens of labelled and of unlabelled texts.

    In each step ``share`` of the tokens of the batch's texts, and of as many random texts of the
    unlabelled pool, are drawn. 80 % of these are masked, 10 % become a random token, and 10 % stay.
    With h the encoder's last state of a drawn token, E its input embeddings, and P a matrix that is
    learnt as well::

        MLM = -mean log softmax(E P h)_t     over the drawn tokens; t is the token as it was

    P has no offset and begins as the identity (cut, where states and embeddings differ in size).
    Rows that the train selector leaves out are among the texts; a batch without any kept row still
    makes no step.

    Source: Devlin et al. 2019, BERT (arXiv 1810.04805), section 3.1 and appendix C.2, where a layer
    of its own lies between the states and the embeddings. As a task beside the classification:
    Yang and Yu 2020 (arXiv 2006.00429), whose own are for images.

    It costs a forward and a backward pass over the texts of the batch and over as many again.

    Args:
        weight: Weight of MLM, at least 0; 0 is cross-entropy.
        share: Share of the tokens to guess, in (0, 1); special tokens are never among them.

    Raises:
        ConfigError: A value is outside its range.
    """

    _special: torch.Tensor
    _words: torch.Tensor

    def __init__(self, weight: float = 0.1, share: float = 0.15) -> None:
        super().__init__()
        if weight < 0:
            raise ConfigError(f"loss.weight={weight} must be at least 0; 0 is cross-entropy.")
        if not 0.0 < share < 1.0:
            raise ConfigError(
                f"loss.share={share} has to be above 0 and below 1, for example 0.15: a share of "
                "the tokens."
            )
        self._weight, self._share = weight, share
        self._mask_id = -1
        self.projection: torch.nn.Linear | None = None
        self.needs_texts = weight > 0

    def prepare(self, network: torch.nn.Module, tokenizer: Any) -> None:
        """Reads the mask token and the vocabulary, and makes P.

        Args:
            network: The student's network.
            tokenizer: Its tokenizer.

        Raises:
            ConfigError: The tokenizer has no mask token, or the encoder is frozen.
        """
        super().prepare(network, tokenizer)
        if not self.needs_texts:
            return
        if tokenizer.mask_token_id is None:
            raise ConfigError(
                f"loss=masked_words masks words, and the tokenizer of {tokenizer.name_or_path} has "
                "no mask token. Give a student.model= that was trained on masked words, such as a "
                "BERT, or another loss=."
            )
        embeddings = _embeddings(network)
        encoder: Any = network.base_model
        inner = int(encoder.config.hidden_size)
        self.projection = torch.nn.Linear(inner, embeddings.shape[1], bias=False)
        self.start_anew()
        special = torch.tensor(sorted(set(tokenizer.all_special_ids)), dtype=torch.long)
        known = torch.arange(min(len(tokenizer), len(embeddings)))
        self._mask_id = int(tokenizer.mask_token_id)
        # Known from the tokenizer again after a resume.
        self.register_buffer("_special", special, persistent=False)
        self.register_buffer("_words", known[~torch.isin(known, special)], persistent=False)

    def on_texts(
        self, network: torch.nn.Module, batches: Sequence[Mapping[str, torch.Tensor]]
    ) -> torch.Tensor | None:
        """weight * MLM; None if no token is drawn.

        Args:
            network: The student's network, in training mode.
            batches: Token ids and attention mask, [B, L] each.
        """
        losses = [loss for batch in batches if len(loss := self._losses(network, batch))]
        return self._weight * torch.cat(losses).mean() if losses else None

    def start_anew(self) -> None:
        """Makes P the identity again."""
        if self.projection is not None:
            with torch.no_grad():
                self.projection.weight.copy_(torch.eye(*self.projection.weight.shape))

    def _losses(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Cross-entropy of each drawn token, [N]; N may be 0."""
        seen, drawn = self.masked(batch["input_ids"], batch["attention_mask"])
        if not drawn.any():
            return batch["attention_mask"].new_zeros(0)
        _, states = network_and_states(
            network, {"input_ids": seen, "attention_mask": batch["attention_mask"]}
        )
        assert self.projection is not None
        logits = torch.nn.functional.linear(
            self.projection(states[drawn]), _embeddings(network)
        ).float()
        return torch.nn.functional.cross_entropy(
            logits, batch["input_ids"][drawn], reduction="none"
        )

    def masked(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws the tokens to guess.

        Args:
            input_ids: Token ids, [B, L].
            attention_mask: 1 for real tokens, [B, L].

        Returns:
            The ids that the student sees, [B, L], and which of them it has to guess, bool, [B, L].
        """
        # Drawn on the CPU, so that a GPU masks the same tokens. Seeded before each batch.
        drawn, kinds = torch.rand(2, *input_ids.shape).to(input_ids.device)
        replaced = torch.randint(len(self._words), input_ids.shape).to(input_ids.device)
        guessed = (drawn < self._share) & (attention_mask > 0)
        guessed &= ~torch.isin(input_ids, self._special)
        seen = torch.where(guessed & (kinds < CHANGED), self._mask_id, input_ids)
        seen = torch.where(guessed & (kinds < REPLACED), self._words[replaced], seen)
        return seen, guessed


def _embeddings(network: Any) -> torch.nn.Parameter:
    """The encoder's input embeddings, [V, E]."""
    weight: torch.nn.Parameter = network.base_model.get_input_embeddings().weight
    return weight
