"""Which pays more, labelling pool texts or writing texts: a bandit over both."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, log, sqrt
from typing import Any, Literal

Arm = Literal["label", "write"]
ARMS: tuple[Arm, ...] = ("label", "write")
_EXPLORATION = 0.5
"""Weight of the bonus for rarely taken arms; UCB1 has sqrt(2), for many more rounds than here."""


class SplitBandit:
    """Chooses the arm of each round by UCB1 (Auer et al. 2002), without randomness.

    The reward of a round is the number of new mistakes that the teacher vouches for, per 1,000
    billed tokens. It has no upper bound, so means are divided by the largest reward so far. Each
    arm is taken once before any is compared; ties go to labelling.
    """

    def __init__(self) -> None:
        self._rewards: dict[Arm, list[float]] = {arm: [] for arm in ARMS}

    def choose(self) -> Arm:
        """Returns the arm of the next round."""
        return max(ARMS, key=self._bound)

    def learn(self, arm: Arm, mistakes: int, tokens: int) -> None:
        """Takes in the result of a round.

        Args:
            arm: What the round did.
            mistakes: New mistakes of the student that the teacher vouches for.
            tokens: Billed tokens of the round; without any the reward is 0.
        """
        self._rewards[arm].append(1000.0 * mistakes / tokens if tokens else 0.0)

    def _bound(self, arm: Arm) -> float:
        """The upper confidence bound of an arm's mean reward, relative to the largest reward."""
        own = self._rewards[arm]
        if not own:
            return inf
        every = [reward for rewards in self._rewards.values() for reward in rewards]
        mean = sum(own) / len(own)
        return mean / (max(every) or 1.0) + _EXPLORATION * sqrt(log(len(every)) / len(own))

    def state_dict(self) -> dict[str, Any]:
        """Returns the rewards so far, as plain values."""
        return {arm: list(rewards) for arm, rewards in self._rewards.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state returned by :meth:`state_dict`."""
        self._rewards = {arm: [float(reward) for reward in state[arm]] for arm in ARMS}
