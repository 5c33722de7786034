"""Interface between the student and its losses: one value per decided unit.

A unit is a text, or a word in NER. A loss may also leave units out or reweight rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from tutelage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Targets:
    """Training targets of a batch of B rows.

    For NER, every tensor but ``off_label`` has a token axis: [B, L] or [B, L, C].

    Attributes:
        hard: One-hot target of the row over the classes, [B, C].
        teacher: The teacher's distribution, [B, C]; the hard target for rows without a teacher
            opinion (gold).
        off_label: Share of the teacher's probability on no label, [B]; 0 for gold rows.
        weights: Weights of the units, [B]; 0 at every token but the first of a word.
        ids: Row ids, [B].
        progress: Completed share of the stage, in [0, 1).
    """

    hard: torch.Tensor
    teacher: torch.Tensor
    off_label: torch.Tensor
    weights: torch.Tensor
    ids: tuple[str, ...]
    progress: float


class UnitLoss(torch.nn.Module):
    """Base class of all losses.

    Subclasses implement :meth:`forward`; the other methods have defaults.
    """

    needs_guide: bool = False
    """Whether to call :meth:`reweigh` with a second batch of rows, the guide, before each step."""
    guide_from: Literal["given", "rows"] = "given"
    """Where the guide comes from: rows whose labels the user gave (shots and class names), or other
    rows of the training set."""
    needs_features: bool = False
    """Whether to add :meth:`contrast`, which compares the encoder's states of units."""
    sees_left_out: bool = False
    """Whether :meth:`beside` learns from rows that the selector leaves out."""
    needs_texts: bool = False
    """Whether to add :meth:`on_texts`, which learns from texts without their labels."""

    def prepare(self, network: torch.nn.Module, tokenizer: Any) -> None:
        """Adapts the loss to the student, once and before training; by default, nothing.

        Args:
            network: The student's network, or the first one of two.
            tokenizer: Its tokenizer.

        Raises:
            ConfigError: The student does not suit the loss.
        """
        encoder: Any = network.base_model
        if self.teaches_encoder and not any(one.requires_grad for one in encoder.parameters()):
            raise ConfigError(
                f"A {type(self).__name__} teaches the encoder, and student.freeze_encoder=true "
                "freezes it. Give student.freeze_encoder=false, or loss=cross_entropy."
            )

    @property
    def teaches_encoder(self) -> bool:
        """Whether a part of it teaches the encoder alone, and not the head."""
        return self.needs_features or self.needs_texts

    @property
    def divisible(self) -> bool:
        """Whether several devices may each compute it for their share of a batch.

        It then follows from each unit and the network alone: no part compares rows, leaves units of
        a batch out, reads further texts, or remembers rows.
        """
        parts = ("keep", "contrast", "beside", "reweigh", "on_texts", "get_extra_state")
        return all(getattr(type(self), part) is getattr(UnitLoss, part) for part in parts)

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Unweighted loss of each unit.

        Args:
            logits: Student logits, of the shape of ``targets.hard``.
            targets: Targets of the batch.

        Returns:
            Tensor of the shape of ``targets.weights``: [B], or [B, L] for NER.
        """
        raise NotImplementedError

    def keep(self, losses: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Factors on the weights of the units; all ones by default.

        Args:
            losses: Detached losses of the batch, as returned by :meth:`forward`.
            targets: Targets of the batch.

        Returns:
            Tensor of the shape of ``losses``.
        """
        return torch.ones_like(losses)

    def contrast(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        features: torch.Tensor,
        targets: Targets,
    ) -> torch.Tensor:
        """Further loss of each unit; only called if ``needs_features`` is set, once per step.

        Args:
            network: The student's network, or one of two.
            batch: The batch, a :class:`tutelage.data.items.Batch`.
            features: The encoder's states, with gradient: the mean over the tokens of each text,
                [B, D], or the state of each token, [B, L, D] for NER.
            targets: Targets of the batch; their ``weights`` already include the selector's choice.

        Returns:
            Tensor of the shape of ``targets.weights``.
        """
        raise NotImplementedError

    def beside(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        logits: torch.Tensor,
        targets: Targets,
    ) -> torch.Tensor | None:
        """Further loss of the whole batch, added to the mean of its units; by default, None.

        Args:
            network: The student's network, or one of two.
            batch: The batch, a :class:`tutelage.data.items.Batch`, with the weights of the units
                before the selector's choice.
            logits: The network's logits, with gradient.
            targets: Targets of the batch; their ``weights`` already include the selector's choice.
        """
        return None

    def reweigh(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        targets: Targets,
        guide_batch: Mapping[str, Any],
        guide_targets: Targets,
    ) -> torch.Tensor:
        """Factors on the weights of the rows, [B]; only called if ``needs_guide`` is set.

        Args:
            network: The student's network.
            batch: The batch, a :class:`tutelage.data.items.Batch`.
            targets: Targets of the batch; their ``weights`` already include the selector's choice,
                with 0 in rows left out.
            guide_batch: A second batch of rows, as ``guide_from`` says.
            guide_targets: Targets of the guide.
        """
        raise NotImplementedError

    def on_texts(
        self, network: torch.nn.Module, batches: Sequence[Mapping[str, torch.Tensor]]
    ) -> torch.Tensor | None:
        """Further loss, added once per step; only called if ``needs_texts`` is set.

        Args:
            network: The student's network, or one of two, in training mode.
            batches: Token ids and attention mask, [B, L] each: the texts of the batch, left out or
                not, and as many random texts of the unlabelled pool, if there is one.

        Returns:
            A number with gradient; None if there is nothing to learn.
        """
        raise NotImplementedError

    def start_anew(self) -> None:
        """Forgets what was learnt of the network, which has new weights; by default, nothing."""
