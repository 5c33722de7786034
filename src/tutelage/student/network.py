"""An encoder with mean pooling and a linear head, as a Hugging Face model.

The encoder is one of transformers' own, or a table of token vectors (:class:`StaticEncoder`).

Sentence encoders are trained with mean pooling: on SNIPS with 1 shot it starts 10 points above the
usual head on the first token (see "What we had to choose" in the documentation).

This module deliberately imports nothing from tutelage: ``save_pretrained`` copies it into the run's
``student/`` folder, so that ``AutoModelForSequenceClassification.from_pretrained(folder,
trust_remote_code=True)`` works without tutelage. ``tutelage predict`` runs no code from the folder.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput


class StaticConfig(PretrainedConfig):  # type: ignore[misc]
    """Configuration of a table of token vectors.

    Args:
        vocab_size: Number of tokens, V.
        hidden_size: Length of a vector, D.
        **values: Further values of ``PretrainedConfig``.
    """

    model_type = "tutelage-static"

    def __init__(self, vocab_size: int = 1, hidden_size: int = 1, **values: Any) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        super().__init__(**values)


class StaticEncoder(PreTrainedModel):  # type: ignore[misc]
    """One vector per token, whatever stands beside it, [B, L] → [B, L, D].

    Args:
        config: Sizes of the table.
    """

    config_class = StaticConfig
    base_model_prefix = ""

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.table = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def get_input_embeddings(self) -> torch.nn.Module:
        """Returns the table."""
        return self.table

    def set_input_embeddings(self, value: Any) -> None:
        """Replaces the table."""
        self.table = value

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **_: Any,
    ) -> BaseModelOutput:
        """Vectors of the tokens of a batch, [B, L, D].

        Args:
            input_ids: Token ids, [B, L].
            attention_mask: Not used: no token reads another.
            inputs_embeds: The vectors themselves, instead of ids.
            **_: Further tokenizer outputs, which are not used.
        """
        states = self.table(input_ids) if inputs_embeds is None else inputs_embeds
        return BaseModelOutput(last_hidden_state=states)


def _new_encoder(values: dict[str, Any]) -> Any:
    """An encoder of a configuration, with random weights."""
    inner = dict(values)
    model_type = inner.pop("model_type")
    if model_type == StaticConfig.model_type:
        return StaticEncoder(StaticConfig(**inner))
    # Only classes of transformers itself, whatever the configuration asks for.
    config = AutoConfig.for_model(model_type, **inner)
    return AutoModel.from_config(config, trust_remote_code=False)


class MeanPooledConfig(PretrainedConfig):  # type: ignore[misc]
    """Configuration of a mean-pooled classifier.

    Args:
        encoder: The encoder's configuration, including its ``model_type``.
        head_dropout: Dropout probability before the linear head.
        normalize: Scale the mean to length 1, as sentence encoders are trained.
        **values: Further values of ``PretrainedConfig``, such as the label names.
    """

    model_type = "tutelage-mean-pooled"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        head_dropout: float = 0.0,
        normalize: bool = False,
        **values: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.head_dropout = head_dropout
        self.normalize = normalize
        super().__init__(**values)


class MeanPooledForSequenceClassification(PreTrainedModel):  # type: ignore[misc]
    """Mean of the last hidden states over the real tokens → dropout → linear head, [B, L] → [B, C].

    With ``normalize`` the mean is scaled to length 1 first.

    Args:
        config: Encoder configuration, dropout and labels.
    """

    config_class = MeanPooledConfig
    base_model_prefix = "encoder"

    def __init__(self, config: MeanPooledConfig) -> None:
        super().__init__(config)
        self.encoder = _new_encoder(config.encoder)
        self.dropout = torch.nn.Dropout(config.head_dropout)
        self.classifier = torch.nn.Linear(self.encoder.config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **inputs: Any,
    ) -> SequenceClassifierOutput:
        """Logits of a batch, [B, C].

        Args:
            input_ids: Token ids, [B, L].
            attention_mask: 1 for real tokens, 0 for padding, [B, L]; None if there is no padding.
            **inputs: Further tokenizer outputs for the encoder, such as token types.
        """
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, **inputs
        ).last_hidden_state
        mask = (
            torch.ones(hidden.shape[:2], device=hidden.device)
            if attention_mask is None
            else attention_mask
        )
        # Padding must not count in the mean.
        mask = mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        if self.config.normalize:
            pooled = torch.nn.functional.normalize(pooled, dim=-1)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))


MeanPooledConfig.register_for_auto_class()
MeanPooledForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
