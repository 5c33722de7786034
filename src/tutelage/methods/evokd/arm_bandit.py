"""Which prompts and attribute cells find texts that the student fails: a bandit over them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

Arm = tuple[str, str, str]
"""A way of asking for a text: prompt variant, class, cell of the attribute grid."""

_MEMORY = 0.8
"""Weight of each round's counts relative to the next one's: the student learns what it failed."""


class ArmBandit:
    """Chooses arms by Thompson sampling, with a Beta(1, 1) prior on each arm's share of failures.

    A round takes many arms before any reward is known, and there may be more arms than a run has
    turns. Draws from the posterior spread such a batch by themselves, where UCB1 would take the
    arms one after the other and needs each of them once. Older counts fade (discounted Thompson
    sampling, Raj and Kalyani 2017, arXiv 1707.09727), since the student changes from round to
    round.

    Args:
        arms: The arms, without repeats.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        # Faded numbers of texts and of failures.
        self._counts: dict[Arm, tuple[float, float]] = dict.fromkeys(arms, (0.0, 0.0))

    def choose(self, count: int, rng: random.Random) -> list[Arm]:
        """Draws arms, each as often as it is probably the best one.

        Args:
            count: Number of arms; one may be drawn more than once.
            rng: Makes the draws.
        """
        chosen: list[Arm] = []
        for _ in range(count):
            drawn = {
                arm: rng.betavariate(1.0 + failures, 1.0 + texts - failures)
                for arm, (texts, failures) in self._counts.items()
            }
            chosen.append(max(drawn, key=drawn.__getitem__))
        return chosen

    def learn(self, results: Mapping[Arm, tuple[int, int]]) -> None:
        """Takes in a round.

        Args:
            results: Number of texts, and of failures among them, for each arm that was taken.
        """
        for arm, (texts, failures) in self._counts.items():
            new_texts, new_failures = results.get(arm, (0, 0))
            self._counts[arm] = (_MEMORY * texts + new_texts, _MEMORY * failures + new_failures)

    def state_dict(self) -> dict[str, Any]:
        """Returns the counts so far, as plain values."""
        return {"counts": [[*arm, *counts] for arm, counts in self._counts.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state returned by :meth:`state_dict`."""
        for variant, label, style, texts, failures in state["counts"]:
            self._counts[variant, label, style] = (float(texts), float(failures))
