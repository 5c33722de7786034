"""Temperature and off-label mass: the teacher's distribution as a training target.

No other module knows of either.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from tutelage.errors import ConfigError, did_you_mean
from tutelage.student.losses.protocol import Targets

OffLabel = Literal["ignore", "uniform", "hard"]


class TeacherTargets:
    """The teacher's distribution at a temperature, mixed according to its off-label mass o.

    ============  =======================
    "ignore"      p
    "uniform"     (1 - o) p + o / C
    "hard"        (1 - o) p + o hard
    ============  =======================

    where p is proportional to teacher^(1 / temperature). With a large o the teacher wanted to write
    something other than a label, so its distribution over the labels is worth less: "uniform" makes
    it vaguer, "hard" trusts the row's target instead.

    The temperature is the teacher's alone. Hinton et al. 2015 (Distilling the Knowledge in a Neural
    Network, section 2) also divide the student's logits, making the student as sharp as the teacher
    was; here the student becomes as soft as these targets.

    Args:
        temperature: Above 1 softens, below 1 sharpens; 1 leaves the teacher's distribution
            unchanged.
        off_label: Use of the off-label mass: "ignore", "uniform" or "hard".

    Raises:
        ConfigError: ``temperature`` is not above 0, or ``off_label`` is unknown.
    """

    def __init__(self, temperature: float = 1.0, off_label: OffLabel = "ignore") -> None:
        if not 0.0 < temperature < float("inf"):
            raise ConfigError(
                f"loss.temperature={temperature} must be above 0; 1 leaves the teacher's "
                "distribution unchanged."
            )
        if off_label not in get_args(OffLabel):
            raise ConfigError(did_you_mean("loss.off_label", off_label, get_args(OffLabel)))
        self._temperature = temperature
        self._off_label = off_label

    def __call__(self, targets: Targets) -> torch.Tensor:
        """Distributions to learn, of the shape of ``targets.teacher``.

        At tokens without a target (all zeros) the values are finite but meaningless.
        """
        tempered = self._tempered(targets.teacher)
        if self._off_label == "ignore":
            return tempered
        # One number per row, for texts and words alike.
        off = targets.off_label.view(-1, *[1] * (tempered.dim() - 1))
        # Destination of the off-label mass.
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
        # Relative to the largest: at a low temperature all powers would underflow together.
        powers = (teacher / teacher.amax(dim=-1, keepdim=True).clamp(min=tiny)) ** (
            1 / self._temperature
        )
        return powers / powers.sum(dim=-1, keepdim=True).clamp(min=tiny)
