"""FOLD: methods.base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tutelage.data.pool import Pool
from tutelage.labelling.base import Labeller, NewLabeller
from tutelage.records import Example, Feedback, Growth, Row
from tutelage.selectors.protocol import PoolView
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Request, Teacher
from tutelage.teacher.prompts import PromptSet

# FOLD: What the loop asks of a method, and what a method is given.
OnPhase = Callable[[str, int], None]
"""Called with a phase's name and how many teacher requests it will make, when the phase begins."""


@dataclass(frozen=True, slots=True)
class MethodContext:
    """What a method stands on. Gold labels of the pool are not in it.

    Attributes:
        teacher: counted and cached; None for methods that ask nothing.
        pool: the ledger so far, read only.
        shots: the labelled examples that the run may use.
        unlabelled: the data set's pool, without labels.
        look: how the student sees texts at this moment, beside the texts that it has learnt from.
        held_out: (split, text) of the dev and test sets, to keep generated texts away from.
        seed: the run's.
    """

    task: Task
    pool: Pool
    shots: tuple[Example, ...]
    unlabelled: tuple[Example, ...]
    dev: tuple[Example, ...]
    held_out: tuple[tuple[str, str], ...]
    seed: int
    teacher: Teacher | None
    on_phase: OnPhase
    on_reply: Callable[[Any], None]
    view_pool: Callable[[Sequence[str], Sequence[str]], PoolView]


class Method(Protocol):
    """A way to grow the pool."""

    @property
    def name(self) -> str:
        """The group option's name."""
        ...

    @property
    def rounds(self) -> int:
        """How many rounds it grows at most; 0 trains on the first rows only."""
        ...

    @property
    def asks_teacher(self) -> bool:
        """False where no teacher has to be built."""
        ...

    @property
    def calibration_labels(self) -> int:
        """Gold dev labels that calibration used."""
        ...

    @property
    def truncated(self) -> int:
        """Different texts that were cut short for the teacher."""
        ...

    def setup(self, context: MethodContext) -> None:
        """Take the run's parts; called once, before anything else."""
        ...

    def first_rows(self) -> Growth:
        """The rows of round 0."""
        ...

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """The part of a round's feedback that the method aims at; its mistakes are exported, and ``next_rows`` sees nothing else."""
        ...

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """The rows of ``round``, aimed by what :meth:`aimed_at` left of the feedback of the one before.

        Raises:
            BudgetExhausted: the tokens are spent.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain values that make a resumed run go on alike."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        ...


@runtime_checkable
class Plannable(Protocol):
    """What ``tutelage plan`` asks besides of a method that stands on its ground."""

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Real requests of each kind, at most ``count`` of each, as a first round would send them."""
        ...

    def requests_a_round(self) -> dict[str, int]:
        """How many requests of each kind a round makes at most."""
        ...


def gold_rows(examples: Sequence[Example], round: int = 0) -> list[Row]:
    """Rows of labelled examples."""
    return [
        Row(
            id=f"gold-{example.id}",
            text=example.text,
            target=example.label or "",
            source="gold",
            round=round,
            accepted=True,
        )
        for example in examples
    ]


# FOLD: What methods that ask a teacher have alike: the prompts, the labeller over the shots, and what a resumed run needs of them.
class TeacherMethod:
    """The part of a :class:`~tutelage.methods.base.Method` that deals with the teacher; the methods set ``_labeller`` and ``_context``.

    Attributes:
        calibration_labels: gold dev labels that the calibrator was fitted on.
    """

    _context: MethodContext
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
        return (
            state
            if self._labeller is None
            else {**state, "calibrator": self._labeller.calibrator.state_dict()}
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up both."""
        self.calibration_labels = int(state["gold"])
        self._prompts.cut.update(state["cut"])
        if self._labeller is not None:
            self._labeller.calibrator.load_state_dict(state["calibrator"])

    def _calibrate(self) -> None:
        """Fit the labeller's calibrator; where there is no labeller, nothing."""
        if self._labeller is not None:
            self._context.on_phase("calibration", 0)
            self.calibration_labels = self._labeller.fit(self._context.dev, self._context.on_reply)
