"""What methods that ask a teacher have alike: the prompts, the labeller over the shots, and what a resumed run needs of them."""

from __future__ import annotations

from typing import Any

from tutelage.methods.protocol import Ground
from tutelage.teacher.labelling import Labeller, NewLabeller
from tutelage.teacher.prompts import PromptSet


class AskingMethod:
    """The part of a :class:`~tutelage.methods.protocol.Method` that deals with the teacher; the methods set ``_labeller`` and ``_ground``.

    Attributes:
        calibration_labels: gold dev labels that the calibrator was fitted on.
    """

    _ground: Ground
    _labeller: Labeller | None = None
    calibration_labels = 0

    def __init__(self, name: str, prompts: PromptSet, new_labeller: NewLabeller) -> None:
        self.name = name
        self._prompts = prompts
        self._new_labeller = new_labeller

    @property
    def asks_teacher(self) -> bool:
        """True, but for settings that leave the teacher nothing to say."""
        return True

    @property
    def truncated(self) -> int:
        """Texts cut short in the prompts."""
        return len(self._prompts.cut)

    def state_dict(self) -> dict[str, Any]:
        """Which texts were cut, and the calibrator's state where there is one; the rest follows from the pool."""
        state = {"gold": self.calibration_labels, "cut": sorted(self._prompts.cut)}
        return state if self._labeller is None else {**state, "calibrator": self._labeller.calibrator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up both."""
        self.calibration_labels = int(state["gold"])
        self._prompts.cut.update(state["cut"])
        if self._labeller is not None:
            self._labeller.calibrator.load_state_dict(state["calibrator"])

    def _calibrate(self) -> None:
        """Fit the labeller's calibrator; where there is no labeller, nothing."""
        if self._labeller is not None:
            self._ground.on_phase("calibration", 0)
            self.calibration_labels = self._labeller.fit(self._ground.dev, self._ground.on_reply)
