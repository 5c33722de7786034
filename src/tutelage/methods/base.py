"""Interface of a method, its context in a run, and the base class of methods with a teacher."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from tutelage.data.pool import Pool
from tutelage.errors import BudgetExhausted, ConfigError
from tutelage.labelling.base import Labeller, NewLabeller, Prepared
from tutelage.records import Example, Feedback, Growth, Label, Outcome, Row, derive_seed, record_id
from tutelage.selectors.protocol import PoolView
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Request, Teacher
from tutelage.teacher.prompts import PromptSet

OnPhase = Callable[[str, int], None]
"""Called at the start of a phase, with its name and its number of teacher requests."""


@dataclass(frozen=True, slots=True)
class MethodContext:
    """The parts of a run available to a method. Gold labels of the pool are not among them.

    Attributes:
        task: The task.
        pool: The ledger so far, read-only.
        shots: The labelled examples of the run.
        unlabelled: The unlabelled pool of the data set, without labels.
        dev: The labelled dev set, for calibration only.
        held_out: (split, text) of each dev and test text; generated texts must not repeat them.
        seed: The seed of the run.
        teacher: The teacher, counted and cached; None for methods without one.
        on_phase: Called at the start of each phase.
        on_reply: Called with each reply of the teacher, as it arrives.
        view_pool: Returns the current student's view of some texts, next to the texts of the rows
            it has learnt from.
        predict: Returns the current student's outcomes on some rows, in any order.
        class_names: The rows of the class names that the student learns from as well
            (``student.class_names``).
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
    predict: Callable[[Sequence[Row]], Sequence[Outcome]]
    class_names: tuple[Row, ...] = ()


class Method(Protocol):
    """A way to grow the pool."""

    @property
    def name(self) -> str:
        """Name of the configuration option."""
        ...

    @property
    def rounds(self) -> int:
        """Maximum number of rounds; 0 trains on the first rows only."""
        ...

    @property
    def asks_teacher(self) -> bool:
        """False if no teacher has to be built."""
        ...

    @property
    def calibration_labels(self) -> int:
        """Number of gold dev labels used by calibration."""
        ...

    @property
    def truncated(self) -> int:
        """Number of distinct texts cut short in prompts."""
        ...

    def setup(self, context: MethodContext) -> None:
        """Connects the method to a run; called once, before everything else.

        Args:
            context: The parts of the run.

        Raises:
            ConfigError: The run lacks something the method needs.
        """
        ...

    def first_rows(self) -> Growth:
        """Returns the rows of round 0.

        Raises:
            ConfigError: The token budget does not cover them.
        """
        ...

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """Returns the part of a round's feedback the method aims at.

        Its mistakes are exported to the run folder, and ``next_rows`` sees nothing else.

        Args:
            feedback: The results of the latest round.
        """
        ...

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Returns the rows of a round.

        Args:
            feedback: The result of :meth:`aimed_at` for the round before.
            round: The new round, from 1.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Returns the state a resumed run needs, as plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state returned by :meth:`state_dict`."""
        ...


@runtime_checkable
class Plannable(Protocol):
    """Further methods that ``tutelage plan`` calls, after ``setup``."""

    def sample_requests(self, count: int) -> dict[str, list[Request]]:
        """Returns real requests of each kind, as the first round would send them.

        Args:
            count: Maximum number of requests per kind.
        """
        ...

    def requests_a_round(self) -> dict[str, int]:
        """Returns the maximum number of requests of each kind per round."""
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """Further methods of one that knows a part of the next round's requests before the student.

    ``training.prefetch`` sends them while the student trains.
    """

    @property
    def foresees(self) -> str:
        """Why there is nothing to foresee under these settings; "" if there is."""
        ...

    def upcoming(self, round: int) -> list[Request]:
        """Returns requests that :meth:`Method.next_rows` will send, whatever the student learns.

        Args:
            round: The next round, from 1; the rows of the one before are in the pool.
        """
        ...


ESTIMATED = 100
"""Texts by which a plan estimates the labelling requests per text."""


class RequestFailure(StrEnum):
    """A failed teacher request, as the cause of a rejected row.

    The pool stores the reason of a rejection as text. This class alone writes and recognises the
    reasons of failed requests.
    """

    GENERATION = "request failed"
    LABELLING = "labelling failed"

    def reason(self, error: str) -> str:
        """Returns the reason stored with the row.

        Args:
            error: The error reported by the teacher.
        """
        return f"{self.value}: {error}"

    @classmethod
    def of(cls, row: Row) -> RequestFailure | None:
        """Returns the failure behind a row; None if all its requests were answered."""
        return next((failure for failure in cls if row.reason.startswith(failure.value)), None)


@dataclass(frozen=True, slots=True)
class Cost:
    """Teacher requests and time of one or more phases of a round.

    Attributes:
        asked: Number of requests, answered and failed ones.
        failed: Number of failed requests among them.
        seconds: Duration by phase.
    """

    asked: int = 0
    failed: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Cost) -> Cost:
        """Returns the cost of both, with the phases in order."""
        return Cost(
            self.asked + other.asked,
            self.failed + other.failed,
            {**self.seconds, **other.seconds},
        )


def follows_mistakes(feedback: object) -> bool:
    """Returns whether a method with this ``method.feedback`` aims at the student's mistakes.

    Args:
        feedback: The setting; None for a method without it. Runs from before it had a source have
            true or false.
    """
    return feedback not in (None, False, "none")


def gold_rows(examples: Sequence[Example], round: int = 0) -> list[Row]:
    """Builds accepted rows from labelled examples.

    Args:
        examples: The examples.
        round: The round of the rows.
    """
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


def class_name_rows(labels: Sequence[Label]) -> list[Row]:
    """Builds accepted rows from the word and the description of each class.

    A name is a text of its class to an encoder that was trained on sentence pairs: the sentence
    "a question about a place" lies near such questions. A text that stands for two classes tells
    them not apart, and has no row.

    Args:
        labels: The classes, with the words and descriptions that prompts use.
    """
    named: dict[str, set[str]] = {}
    for label in labels:
        for text in filter(None, (label.description, label.word)):
            named.setdefault(text, set()).add(label.name)
    texts = {text: name for text, (name, *others) in named.items() if not others}
    return [
        Row(
            id=record_id("class_name", text),
            text=text,
            target=name,
            source="class_name",
            round=0,
            accepted=True,
        )
        for text, name in texts.items()
    ]


def drawn_pool(unlabelled: Sequence[Example], pool_size: int | None, seed: int) -> list[Example]:
    """Returns the texts of the unlabelled pool that a run may use.

    Args:
        unlabelled: The pool of the data set.
        pool_size: Number of texts, drawn at random and in random order; None for all, in order.
        seed: The seed of the run.
    """
    pool = list(unlabelled)
    if pool_size is not None:
        random.Random(derive_seed("pool", seed)).shuffle(pool)
    return pool[:pool_size]


def joined(first: Growth, second: Growth) -> Growth:
    """Returns the growth of a round that grew twice, with everything else as in the second.

    Args:
        first: What the round did first, such as to label pool texts.
        second: What it did then.
    """
    seconds = Counter(first.seconds)
    seconds.update(second.seconds)
    return replace(
        second,
        rows=(*first.rows, *second.rows),
        seconds=dict(seconds),
        asked=first.asked + second.asked,
        answered=first.answered + second.answered,
        rejected=first.rejected + second.rejected,
        failed=first.failed + second.failed,
    )


def fewer_texts(method: Method) -> str:
    """Returns the advice to ask for fewer texts per round, with the method's settings for it."""
    settings = ", ".join(getattr(method, "round_settings", ()))
    return "ask for fewer texts per round" + (f" ({settings})" if settings else "")


class TeacherMethod:
    """Base class of methods with a teacher: prompts, calibration and their state.

    Subclasses set ``_context``, and ``_labeller`` if they label texts by queries of their own.

    Args:
        name: Name of the configuration option.
        prompts: The prompt templates.
        new_labeller: Builds a labeller for the task, the teacher and some demonstrations.

    Attributes:
        calibration_labels: Number of gold dev labels the calibrator was fitted on.
        round_settings: The settings that size a round, for messages.
    """

    _context: MethodContext
    _labeller: Labeller | None = None
    calibration_labels = 0
    round_settings: tuple[str, ...] = ("method.n_texts",)

    def __init__(self, name: str, prompts: PromptSet, new_labeller: NewLabeller) -> None:
        self.name = name
        self._prompts = prompts
        self._new_labeller = new_labeller

    @property
    def asks_teacher(self) -> bool:
        """True; a subclass returns False if its settings need no teacher."""
        return True

    @property
    def truncated(self) -> int:
        """Number of distinct texts cut short in prompts."""
        return len(self._prompts.cut)

    @property
    def notes(self) -> tuple[str, ...]:
        """How it asks, and facts about its labels, to tell once, after ``setup``."""
        if not self.asks_teacher:
            return ()
        calibration = self.calibration
        calibrated = f"; calibration={calibration}" if calibration else ""
        return (
            f"The teacher is asked by {self.way_of_asking}{calibrated}.",
            *getattr(self._labeller, "notes", ()),
        )

    @property
    def way_of_asking(self) -> str:
        """Says how the teacher is asked: "chat", or "chat, for labels by completion"."""
        ways = {True: "chat", False: "completion"}
        way = ways[self._prompts.asks_in_messages("easy")]
        # Before ``setup``, and without labels, there is no labeller.
        for_labels = getattr(self._labeller, "asks_in_messages", None)
        if for_labels is None or ways[for_labels] == way:
            return way
        return f"{way}, for labels by {ways[for_labels]}"

    @property
    def calibration(self) -> str:
        """Name of the calibration of its labels; "" before ``setup``, and without labels."""
        return self._labeller.calibrator.name if self._labeller is not None else ""

    @property
    def prompts(self) -> PromptSet:
        """The prompts of the method."""
        return self._prompts

    def state_dict(self) -> dict[str, Any]:
        """Returns the number of calibration labels, the cut texts and the calibrator's state.

        Everything else follows from the pool.
        """
        # Prompts remember cut texts across a resume, so that each is counted once.
        state = {"gold": self.calibration_labels, "cut": sorted(self._prompts.cut)}
        return (
            state
            if self._labeller is None
            else {**state, "calibrator": self._labeller.calibrator.state_dict()}
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state returned by :meth:`state_dict`."""
        self.calibration_labels = int(state["gold"])
        self._prompts.cut.update(state["cut"])
        if self._labeller is not None:
            self._labeller.calibrator.load_state_dict(state["calibrator"])

    def preparation(self) -> dict[str, list[Request]]:
        """Returns the requests by kind that are sent once, before the first label.

        They are for ``tutelage plan``; those that depend on earlier replies are estimates. Only
        some labellers have any.
        """
        return self._labeller.preparation() if isinstance(self._labeller, Prepared) else {}

    def _calibrate(self) -> None:
        """Prepares the labeller, if there is one, and fits its calibrator on dev.

        Raises:
            ConfigError: The token budget does not cover it.
        """
        if self._labeller is None:
            return
        self._context.on_phase("calibration", sum(map(len, self.preparation().values())))
        try:
            self.calibration_labels = self._labeller.fit(self._context.dev, self._context.on_reply)
        except BudgetExhausted as error:
            raise ConfigError(
                f"budget.tokens is spent before the first label: {error} Raise it, or ask for "
                "less with labelling=text labelling.demonstrations=nearest."
            ) from None
