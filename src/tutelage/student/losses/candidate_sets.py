"""Learning among candidate labels, where the teacher is unsure which one it is."""

from __future__ import annotations

import torch

from tutelage.errors import ConfigError
from tutelage.student.losses.protocol import Targets, UnitLoss


class CandidateSetLoss(UnitLoss):
    """-sum_k r_k log p_k, where r is a refined distribution over the candidate labels of a unit.

    The candidates S are the teacher's most probable labels up to a probability of ``mass``, and the
    hard target. Where the teacher is surer than ``mass``, S is the hard target alone. r is 0
    outside S, and inside it, for the teacher's distribution t and the student's p::

        r_k = (1 - s) t_k / sum_S t + s p_k / sum_S p     s = refine * min(progress / warmup, 1)

    p carries no gradient in r. ``progress`` is the completed share of the stage. With s = 1 the
    gradient is that of -log sum_S p.

    Source: Xia et al. 2025, Prompt Candidates, then Distill (CanDist, arXiv 2506.03857), whose
    teacher lists its candidates in words; here they come from its exact distribution. The
    refinement by the student's renormalised prediction is that of Lv et al. 2020 (PRODEN, arXiv
    2002.08053). The start at the teacher's distribution and the warm-up are ours, since a new
    student's prediction says nothing; so is the half of the teacher's distribution that stays:
    a student alone can drift to one class where most sets hold them all
    (docs/results/options.md).

    Args:
        mass: Probability that the candidates reach together, in (0, 1]; 1 makes every label with a
            probability a candidate.
        refine: Share of the student's prediction in r after the warm-up, in [0, 1]; 0 learns the
            teacher's distribution within the candidates.
        warmup: Share of a stage over which this share grows from 0, in [0, 1]; 0 refines at once.

    Raises:
        ConfigError: A value is outside its range.
    """

    def __init__(self, mass: float = 0.9, refine: float = 0.5, warmup: float = 0.3) -> None:
        super().__init__()
        if not 0.0 < mass <= 1.0:
            raise ConfigError(f"loss.mass={mass} must be above 0 and at most 1.")
        for name, value in (("refine", refine), ("warmup", warmup)):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"loss.{name}={value} must be in [0, 1].")
        self._mass, self._refine, self._warmup = mass, refine, warmup

    def forward(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Loss per unit, at least 0.

        Args:
            logits: Student logits, [B, C], or [B, L, C] for NER.
            targets: Targets of the batch.

        Returns:
            Tensor of shape [B], or [B, L] for NER.
        """
        logs = logits.log_softmax(dim=-1)
        candidates = self.candidates(targets)
        share = self._refine * (min(targets.progress / self._warmup, 1.0) if self._warmup else 1.0)
        taught = _within(targets.teacher, candidates)
        # In logarithms, so that a student who gives no candidate any probability can still learn.
        own = logs.detach().masked_fill(~candidates, -torch.inf).softmax(dim=-1)
        return -(((1 - share) * taught + share * own) * logs).sum(dim=-1)

    def candidates(self, targets: Targets) -> torch.Tensor:
        """True for the candidate labels of each unit, in the shape of ``targets.teacher``.

        The lower index wins a tie. At tokens without a target the values are meaningless, but there
        is at least one candidate.
        """
        ranked, order = targets.teacher.sort(dim=-1, descending=True, stable=True)
        # A label is needed as long as the ones before it fall short; the slack is for rounding.
        before = ranked.cumsum(dim=-1) - ranked
        needed = ((before < self._mass - 1e-6) & (ranked > 0)).to(targets.hard)
        chosen = torch.zeros_like(targets.hard).scatter(-1, order, needed)
        found = (chosen + targets.hard) > 0
        return found | ~found.any(dim=-1, keepdim=True)


def _within(distribution: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Distribution without its mass outside the candidates; even if nothing is left of it."""
    inside = distribution * candidates
    total = inside.sum(dim=-1, keepdim=True)
    even = candidates / candidates.sum(dim=-1, keepdim=True)
    tiny = torch.finfo(distribution.dtype).tiny
    return torch.where(total > 0, inside / total.clamp(min=tiny), even.to(distribution))
