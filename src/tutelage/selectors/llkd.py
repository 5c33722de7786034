"""LLKD: learn from what the teacher is sure of and the student is not (after Li et al. 2025, arXiv 2411.08028, reconstructed).

At each training step, for teacher labels y_i with confidence c_i and the student's uncertainty u_i in [0, 1]::

    gT    <- m gT + (1 - m) mean_i c_i                    gS    <- m gS + (1 - m) mean_i u_i
    aT(y) <- m aT(y) + (1 - m) mean_{y_i = y} c_i         aS(y) <- m aS(y) + (1 - m) mean_{y_i = y} u_i
    tauT(y) = gT aT(y) / max_k aT(k)                      tauS(y) = gS aS(y) / max_k aS(k)
    s_i = [c_i >= tauT(y_i)] [u_i >= tauS(y_i)]           w_i = combine(c_i, u_i)

A class's averages begin at its own mean, that of the epoch or batch in which it is first seen. A row at its threshold passes, whatever
rounding has made of either (:data:`SLACK`). A row of which c or u is not a finite number is left out, and moves no average.

The paper names the two gates, the class-wise moving thresholds and the weights; the form of the thresholds is inferred (FreeMatch's), and
every number here is ours (README, "What we had to choose").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.measures import TeacherConfidence, checked_kind, row_uncertainty
from tutelage.selectors.protocol import (
    EpochView,
    Floats,
    Indices,
    Normaliser,
    Step,
    Uncertainty,
    Weighed,
)
from tutelage.selectors.row_selection import first_of

SLACK = 1e-9
"""Relative to a threshold: what a value may fall short of it. Averages of equal values differ from these in their last digits, some 1e-16,
so that without it a whole class at its own threshold would be left out."""

Combine = Literal["product", "sum", "mix", "none"]
_COMBINE = ("product", "sum", "mix", "none")


def _combined(how: Combine, alpha: float, confidence: Floats, uncertainty: Floats) -> Floats:
    """Weights of rows from the teacher's confidence and the student's uncertainty."""
    if how == "product":
        return confidence * uncertainty
    if how == "none":
        return np.ones_like(confidence)
    return (
        confidence + uncertainty if how == "sum" else alpha * confidence + (1 - alpha) * uncertainty
    )


class _Thresholds:
    """One side's moving averages: a global one and one a class; NaN where a class was not seen yet. Values are finite and at least 0."""

    def __init__(self, momentum: float, per_class: bool) -> None:
        self._momentum = momentum
        self._per_class = per_class
        self._global = float("nan")
        self._classes = np.empty(0)

    def start(self, values: Floats, groups: np.ndarray[Any, Any], classes: int) -> None:
        """Begin at the means of ``values``; a class without any begins in the first :meth:`update` that has some."""
        self._global = float(values.mean())
        self._classes = np.array(
            [
                values[groups == key].mean() if (groups == key).any() else np.nan
                for key in range(classes)
            ]
        )

    @property
    def started(self) -> bool:
        """True once there is a global mean."""
        return not np.isnan(self._global)

    def update(self, values: Floats, groups: np.ndarray[Any, Any]) -> None:
        """Move towards a batch's means; a class that is seen for the first time begins at its own."""
        m = self._momentum
        self._global = m * self._global + (1 - m) * float(values.mean())
        for key in np.unique(groups):
            old, new = self._classes[key], float(values[groups == key].mean())
            self._classes[key] = new if np.isnan(old) else m * old + (1 - m) * new

    def values(self) -> Floats:
        """tau of each class, [classes]; NaN for one that was not seen yet."""
        if not self._per_class:
            return np.where(np.isnan(self._classes), np.nan, self._global)
        highest = np.nanmax(self._classes) if not np.isnan(self._classes).all() else np.nan
        # All averages 0 (a student that is sure of everything): nothing to compare, so the global value alone.
        return self._global * (
            self._classes / highest
            if highest > 0
            else np.where(np.isnan(self._classes), np.nan, 1.0)
        )

    def passed(self, values: Floats, groups: np.ndarray[Any, Any]) -> NDArray[np.bool_]:
        """True for the values that reach their class's threshold; groups are of classes that were seen."""
        reached: NDArray[np.bool_] = values >= self.values()[groups] * (1 - SLACK)
        return reached

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"global": self._global, "classes": self._classes.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them up."""
        self._global, self._classes = (
            float(state["global"]),
            np.array(state["classes"], dtype=float),
        )


class LLKD:
    """The paper's gates and weights, decided anew at every step. Gold rows pass with weight 1 and move no threshold.

    Args:
        momentum: m, of all moving averages.
        combine: w from c and u: "product", "sum", "mix" (alpha c + (1 - alpha) u), or "none" (1).
        alpha: of "mix".
        uncertainty: how u is measured.
        class_by: whose label y is: the "teacher"'s, or what the "student" takes the row for at this step; then a class's averages begin in
            the first batch with a row of it on both sides.
        teacher_gate, student_gate: switch one off to have it pass everything; the teacher's alone is FreeMatch's.
        per_class: False keeps the global thresholds only.
        teacher_share: the teacher's gate passes this share of the rows of each class by its own labels (of all, without ``per_class``), the
            surest of the epoch, in place of what reaches the moving threshold, which is not kept then; None: that. ceil(share * rows), of
            equally sure rows the earlier ones. Ours: a moving mean passes about half of a class or more, and of these the labels that the student is unsure of
            are less often right (docs/results.md).
        start: "means": the teacher's side starts at the means over all rows of the first epoch; "uniform": at FreeMatch's 1/C, which passes
            everything for thousands of steps. The student's side starts at the first batch's means, or at 1/C too.
        normaliser: what the weighted losses are divided by: "kept" rows, "weights", or "batch".
        refill: gather kept rows until a batch is full, so that a step learns from as many rows as any other arm's.
        confidence: for NER of a text: the mean over its entities, or the "least".

    Raises:
        ConfigError: a value is out of its range, or unknown.
    """

    stage: Literal["train"] = "train"
    watches = True

    def __init__(
        self,
        momentum: float = 0.95,
        combine: Combine = "product",
        alpha: float = 0.5,
        uncertainty: Uncertainty = "entropy",
        class_by: Literal["teacher", "student"] = "teacher",
        teacher_gate: bool = True,
        student_gate: bool = True,
        per_class: bool = True,
        teacher_share: float | None = None,
        start: Literal["means", "uniform"] = "means",
        normaliser: Normaliser = "kept",
        refill: bool = False,
        confidence: Literal["mean", "least"] = "mean",
    ) -> None:
        for name, value, known in (
            ("combine", combine, _COMBINE),
            ("class_by", class_by, ("teacher", "student")),
            ("start", start, ("means", "uniform")),
            ("normaliser", normaliser, ("kept", "weights", "batch")),
        ):
            if value not in known:
                raise ConfigError(did_you_mean(f"selector.{name}", value, known))
        for name, number in (("momentum", momentum), ("alpha", alpha)):
            if not 0.0 <= number <= 1.0:
                raise ConfigError(f"selector.{name}={number} must be in [0, 1].")
        if teacher_share is not None and not 0.0 < teacher_share <= 1.0:
            raise ConfigError(
                f"selector.teacher_share={teacher_share} must be above 0 and at most 1, or null for the moving threshold."
            )
        self._combine: Combine = combine
        self._alpha = alpha
        self._uncertainty = checked_kind(uncertainty)
        self._by_student = class_by == "student"
        self._gates = (teacher_gate, student_gate)
        self._start = start
        self._confidence = TeacherConfidence(confidence)
        self._teacher, self._student = (
            _Thresholds(momentum, per_class),
            _Thresholds(momentum, per_class),
        )
        self.normaliser: Normaliser = normaliser
        self.refill = refill
        self._per_class = per_class
        self._teacher_share = teacher_share
        self._surest: frozenset[str] | None = None
        self._least: Floats = np.empty(0)
        self.needs = (
            frozenset({"rows"})
            if start == "means" or teacher_share is not None
            else frozenset[str]()
        )

    def begin(self, view: EpochView) -> None:
        """Start the teacher's side from all its opinions, once; with ``teacher_share`` name the epoch's surest rows instead."""
        confidence = self._confidence.of(view)
        known = np.flatnonzero(~view.gold & np.isfinite(confidence))
        if self._teacher_share is not None:
            self._name_surest(view, known, confidence, self._teacher_share)
        elif len(known) and not self._teacher.started and self._start == "means":
            # No class has the key -1, so each begins in the first batch that has some of it.
            self._teacher.start(
                confidence[known],
                np.full(len(known), -1) if self._by_student else view.groups[known],
                view.classes,
            )

    def _name_surest(
        self, view: EpochView, known: Indices, confidence: Floats, share: float
    ) -> None:
        """The rows that the share keeps, and the least confidence among a class's, which stands for its threshold in the report."""
        group_of = view.groups[known]
        members = (
            [known[group_of == group] for group in range(view.classes)]
            if self._per_class
            else [known]
        )
        # A stable sort ranks equals by place.
        firsts = [
            rows[np.argsort(-confidence[rows], kind="stable")[: first_of(len(rows), share)]]
            for rows in members
        ]
        least = [confidence[first].min() if len(first) else np.nan for first in firsts]
        self._least = np.array(least if self._per_class else least * view.classes)
        self._surest = frozenset(view.ids[index] for first in firsts for index in first)

    def weigh(self, step: Step) -> Weighed:
        """Move the thresholds, then gate and weigh the batch's rows by them.

        Raises:
            RuntimeError: ``teacher_share`` is set, and ``begin`` was not called before.
        """
        confidence, uncertainty = (
            self._confidence.of(step),
            row_uncertainty(step, self._uncertainty),
        )
        known = np.flatnonzero(~step.gold & np.isfinite(confidence) & np.isfinite(uncertainty))
        weights, scores = np.where(step.gold, 1.0, 0.0), np.full(len(step.ids), np.nan)
        if len(known):
            groups = (step.predicted if self._by_student else step.groups)[known]
            self._follow(
                confidence[known],
                uncertainty[known],
                groups,
                step.classes,
                step.probabilities.shape[-1],
            )
            passed = known[
                self._passed(
                    [step.ids[index] for index in known],
                    confidence[known],
                    uncertainty[known],
                    groups,
                )
            ]
            scores[known] = _combined(
                self._combine, self._alpha, confidence[known], uncertainty[known]
            )
            weights[passed] = scores[passed]
        tau_teacher = self._teacher.values() if self._teacher_share is None else self._least
        return Weighed(
            weights,
            {"tau_teacher": _plain(tau_teacher), "tau_student": _plain(self._student.values())},
            scores,
        )

    def _passed(
        self, ids: Sequence[str], confidence: Floats, uncertainty: Floats, groups: Indices
    ) -> NDArray[np.bool_]:
        """True for the rows that no gate holds back."""
        passed = np.ones(len(ids), dtype=np.bool_)
        if self._gates[0] and self._teacher_share is None:
            passed &= self._teacher.passed(confidence, groups)
        elif self._gates[0]:
            if self._surest is None:
                raise RuntimeError(
                    "LLKD.weigh was called before begin, so the surest rows of the epoch are not known yet."
                )
            passed &= np.array([id in self._surest for id in ids], dtype=np.bool_)
        if self._gates[1]:
            passed &= self._student.passed(uncertainty, groups)
        return passed

    def _follow(
        self,
        confidence: Floats,
        uncertainty: Floats,
        groups: np.ndarray[Any, Any],
        classes: int,
        outputs: int,
    ) -> None:
        """Move both sides' averages; the teacher's only where a gate may read them."""
        for side, values in ((self._teacher, confidence), (self._student, uncertainty))[
            self._teacher_share is not None :
        ]:
            if not side.started and self._start == "uniform":
                side.start(np.full(classes, 1.0 / outputs), np.arange(classes), classes)
            elif not side.started:
                side.start(values, groups, classes)
            side.update(values, groups)

    def state_dict(self) -> dict[str, Any]:
        """Both sides' averages."""
        return {"teacher": self._teacher.state_dict(), "student": self._student.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them up."""
        self._teacher.load_state_dict(state["teacher"])
        self._student.load_state_dict(state["student"])


def _plain(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]
