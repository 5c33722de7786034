"""What is made of a teacher's distribution before a student learns from it. No other file knows of temperature or off-label mass."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from tutelage.errors import ConfigError, did_you_mean
from tutelage.student.losses.protocol import Targets

OffLabel = Literal["ignore", "uniform", "hard"]


class TeacherTargets:
    """The distribution to learn from: the teacher's at a temperature, then mixed with where its off-label mass o is put.

    ============  =======================
    "ignore"      p
    "uniform"     (1 - o) p + o / C
    "hard"        (1 - o) p + o hard
    ============  =======================

    with p proportional to teacher^(1 / temperature). A large o says that the teacher wanted to write something that is no label, so
    its distribution over the labels is worth less: "uniform" makes it vaguer, "hard" trusts the row's target instead.

    The temperature is the teacher's alone. Hinton et al. 2015 (Distilling the Knowledge in a Neural Network, section 2) divide the
    student's logits too, which makes the student as sharp as the teacher was; here the student becomes as soft as these targets.

    Args:
        temperature: above 1 softens, below 1 sharpens; 1 leaves the teacher as it is.
        off_label: where the off-label mass goes.

    Raises:
        ConfigError: ``temperature`` is not above 0, or ``off_label`` is unknown.
    """

    def __init__(self, temperature: float = 1.0, off_label: OffLabel = "ignore") -> None:
        if not 0.0 < temperature < float("inf"):
            raise ConfigError(
                f"loss.temperature={temperature} must be above 0; 1 leaves the teacher's distribution as it is."
            )
        if off_label not in get_args(OffLabel):
            raise ConfigError(did_you_mean("loss.off_label", off_label, get_args(OffLabel)))
        self._temperature = temperature
        self._off_label = off_label

    def __call__(self, targets: Targets) -> torch.Tensor:
        """The distributions, of the shape of ``targets.teacher``; at tokens without a target (all zeros) finite and of no meaning."""
        tempered = self._tempered(targets.teacher)
        if self._off_label == "ignore":
            return tempered
        # One number a row, whatever the row's units are.
        off = targets.off_label.view(-1, *[1] * (tempered.dim() - 1))
        elsewhere = (
            targets.hard
            if self._off_label == "hard"
            else torch.full_like(tempered, 1 / tempered.shape[-1])
        )
        return (1 - off) * tempered + off * elsewhere

    def _tempered(self, teacher: torch.Tensor) -> torch.Tensor:
        if self._temperature == 1.0:
            return teacher
        tiny = torch.finfo(teacher.dtype).tiny
        # Relative to the largest: at a low temperature the powers of all would vanish together.
        powers = (teacher / teacher.amax(dim=-1, keepdim=True).clamp(min=tiny)) ** (
            1 / self._temperature
        )
        return powers / powers.sum(dim=-1, keepdim=True).clamp(min=tiny)
