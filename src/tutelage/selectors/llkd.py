"""LLKD: learn from rows the teacher is confident about and the student is not.

After Li et al. 2025, arXiv 2411.08028, reconstructed. At each training step, for teacher labels y_i
with confidence c_i and the student's uncertainty u_i in [0, 1]::

    gT    <- m gT + (1 - m) mean_i c_i               gS    <- m gS + (1 - m) mean_i u_i
    aT(y) <- m aT(y) + (1 - m) mean_{y_i = y} c_i    aS(y) <- m aS(y) + (1 - m) mean_{y_i = y} u_i
    tauT(y) = gT aT(y) / max_k aT(k)                 tauS(y) = gS aS(y) / max_k aS(k)
    s_i = [c_i >= tauT(y_i)] [u_i >= tauS(y_i)]      w_i = combine(c_i, u_i)

The averages of a class start at its own mean over the first epoch or batch with a row of the class.
A row exactly at its threshold passes, despite rounding (:data:`SLACK`). A row without finite c and
u is left out and moves no average.

The paper names the two gates, the class-wise moving thresholds and the weights. The form of the
thresholds is inferred (FreeMatch's), and every number here is ours; see "What we had to choose" in
the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.measures import (
    Confidence,
    TeacherConfidence,
    checked_kind,
    row_uncertainty,
)
from tutelage.selectors.per_epoch import first_of
from tutelage.selectors.protocol import (
    EpochView,
    Floats,
    Indices,
    Normaliser,
    Step,
    Uncertainty,
    Weighed,
)

SLACK = 1e-9
"""Tolerance of a threshold, relative to it.

Averages of equal values differ from these values in the last digits, by about 1e-16; without the
tolerance, a whole class at its own threshold would be left out.
"""

Combine = Literal["product", "sum", "mix", "none"]
_COMBINE = ("product", "sum", "mix", "none")


def _combined(how: Combine, alpha: float, confidence: Floats, uncertainty: Floats) -> Floats:
    """Weights of rows from the teacher's confidence and the student's uncertainty, [B]."""
    if how == "product":
        return confidence * uncertainty
    if how == "none":
        return np.ones_like(confidence)
    return (
        confidence + uncertainty if how == "sum" else alpha * confidence + (1 - alpha) * uncertainty
    )


class _Thresholds:
    """Moving averages of one side: a global one and one per class.

    Values must be finite and at least 0. The average of a class is NaN until its first row.
    """

    def __init__(self, momentum: float, per_class: bool) -> None:
        self._momentum = momentum
        self._per_class = per_class
        self._global = float("nan")
        self._classes = np.empty(0)

    def start(self, values: Floats, groups: np.ndarray[Any, Any], classes: int) -> None:
        """Starts at the means of ``values``.

        Args:
            values: Confidences or uncertainties, [B].
            groups: Group of each value, [B].
            classes: Number of groups; a group without values starts in the first :meth:`update`
                with some.
        """
        self._global = float(values.mean())
        # A class without rows stays NaN until its first update.
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
        """Moves the averages towards the means of a batch; a new class starts at its own mean."""
        m = self._momentum
        self._global = m * self._global + (1 - m) * float(values.mean())
        for key in np.unique(groups):
            old, new = self._classes[key], float(values[groups == key].mean())
            self._classes[key] = new if np.isnan(old) else m * old + (1 - m) * new

    def values(self) -> Floats:
        """Threshold tau of each class, [classes]; NaN for classes without any row so far."""
        if not self._per_class:
            return np.where(np.isnan(self._classes), np.nan, self._global)
        # FreeMatch's form: the global average, scaled by the class's share of the highest one.
        highest = np.nanmax(self._classes) if not np.isnan(self._classes).all() else np.nan
        # All averages are 0 (a fully confident student): use the global value alone.
        return self._global * (
            self._classes / highest
            if highest > 0
            else np.where(np.isnan(self._classes), np.nan, 1.0)
        )

    def passed(self, values: Floats, groups: np.ndarray[Any, Any]) -> NDArray[np.bool_]:
        """True for values reaching the threshold of their class; every class must have started."""
        reached: NDArray[np.bool_] = values >= self.values()[groups] * (1 - SLACK)
        return reached

    def state_dict(self) -> dict[str, Any]:
        return {"global": self._global, "classes": self._classes.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._global, self._classes = (
            float(state["global"]),
            np.array(state["classes"], dtype=float),
        )


class LLKD:
    """Gates and weights the rows of every step, as in the paper.

    Gold rows pass with weight 1 and move no threshold.

    Args:
        momentum: Momentum m of all moving averages, in [0, 1]. With 0.95 they look back over
            about 20 steps; nearer to 1, the student's thresholds lag behind a student learning
            within a few hundred steps, and hardly any row passes.
        combine: Weight w from c and u: "product", "sum", "mix" for alpha c + (1 - alpha) u, or
            "none" for 1.
        alpha: Share of c in "mix", in [0, 1].
        uncertainty: Measure of u: "entropy", "margin" or "least_confidence".
        class_by: Source of the label y: "teacher" for the teacher's label, or "student" for the
            student's prediction at the current step. With "student", the averages of a class start
            in the first batch with a row of the class, on both sides.
        teacher_gate: False lets every row pass the teacher's gate. The teacher's gate alone is
            FreeMatch's.
        student_gate: False lets every row pass the student's gate.
        per_class: False uses only the global thresholds.
        teacher_share: Share of each class (by the teacher's labels), in (0, 1], to pass the
            teacher's gate: the rows of the epoch with the highest confidence, ceil(share * rows) of
            them, earlier rows first among ties. Without ``per_class`` it is a share of all rows.
            Replaces the moving threshold, which is then not tracked; None keeps the threshold.
            Ours: a moving mean passes about half of a class or more, and among these rows the ones
            the student is unsure of are less often labelled correctly (docs/results/selection.md).
        start: Start of the teacher's averages: "means" over all rows of the first epoch, or
            "uniform" for FreeMatch's 1/C, which passes everything for thousands of steps. The
            student's averages start at the means of the first batch, or at 1/C.
        normaliser: Divisor of the weighted losses: "kept" for the number of kept rows, "weights"
            for the sum of their weights, or "batch" for the number of rows in the batch.
        refill: Gather kept rows until a batch is full, so that each step learns from as many rows
            as with any other selector.
        confidence: The teacher's confidence in a text. For NER, "mean" over its entities, or
            "least" for its least certain entity; the same number for classification. With
            labelling=ensemble, "agreement" of its members.

    Raises:
        ConfigError: A value is outside its range, or unknown.
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
        confidence: Confidence = "mean",
    ) -> None:
        for name, value, known in (
            ("combine", combine, _COMBINE),
            ("class_by", class_by, ("teacher", "student")),
            ("start", start, ("means", "uniform")),
            ("normaliser", normaliser, ("kept", "weights", "batch")),
        ):
            if value not in known:
                raise ConfigError(did_you_mean(f"select.{name}", value, known))
        for name, number in (("momentum", momentum), ("alpha", alpha)):
            if not 0.0 <= number <= 1.0:
                raise ConfigError(f"select.{name}={number} must be in [0, 1].")
        if teacher_share is not None and not 0.0 < teacher_share <= 1.0:
            raise ConfigError(
                f"select.teacher_share={teacher_share} must be above 0 and at most 1, or null for "
                "the moving threshold."
            )
        # Settings of the weights and the gates.
        self._combine: Combine = combine
        self._alpha = alpha
        self._uncertainty = checked_kind(uncertainty)
        self._by_student = class_by == "student"
        self._gates = (teacher_gate, student_gate)
        self._start = start
        self._confidence = TeacherConfidence(confidence)
        # Moving state, saved in checkpoints.
        self._teacher, self._student = (
            _Thresholds(momentum, per_class),
            _Thresholds(momentum, per_class),
        )
        # Read by the training step.
        self.normaliser: Normaliser = normaliser
        self.refill = refill
        # State of teacher_share, found again at each epoch's start and not saved.
        self._per_class = per_class
        self._teacher_share = teacher_share
        self._most_confident: frozenset[str] | None = None
        self._least: Floats = np.empty(0)
        # The epoch's rows are only needed to start at means, or to rank them for teacher_share.
        self.needs = (
            frozenset({"rows"})
            if start == "means" or teacher_share is not None
            else frozenset[str]()
        )

    def begin(self, view: EpochView) -> None:
        """Starts the teacher's averages at the means over the first epoch.

        With ``teacher_share``, finds the most confident rows of the epoch instead.

        Args:
            view: All rows of the epoch.
        """
        confidence = self._confidence.of(view)
        known = np.flatnonzero(~view.gold & np.isfinite(confidence))
        if self._teacher_share is not None:
            self._find_most_confident(view, known, confidence, self._teacher_share)
        elif len(known) and not self._teacher.started and self._start == "means":
            # By the student's prediction, classes start in their first batch: -1 matches none.
            self._teacher.start(
                confidence[known],
                np.full(len(known), -1) if self._by_student else view.groups[known],
                view.classes,
            )

    def _find_most_confident(
        self, view: EpochView, known: Indices, confidence: Floats, share: float
    ) -> None:
        """Sets the rows kept by ``teacher_share``.

        The lowest confidence kept in each class stands in for its threshold in the report.

        Args:
            view: All rows of the epoch.
            known: Indices of the rows with a finite confidence and no gold label.
            confidence: Teacher confidence, [M].
            share: Share of each class to keep, in (0, 1].
        """
        group_of = view.groups[known]
        # Rows of each class, or all of them as a single group.
        members = (
            [known[group_of == group] for group in range(view.classes)]
            if self._per_class
            else [known]
        )
        # A stable sort keeps ties in row order.
        firsts = [
            rows[np.argsort(-confidence[rows], kind="stable")[: first_of(len(rows), share)]]
            for rows in members
        ]
        # One reported threshold per class, also when a single ranking covers all of them.
        least = [confidence[first].min() if len(first) else np.nan for first in firsts]
        self._least = np.array(least if self._per_class else least * view.classes)
        self._most_confident = frozenset(view.ids[index] for first in firsts for index in first)

    def weigh(self, step: Step) -> Weighed:
        """Moves the thresholds, then gates and weights the rows of the batch.

        Args:
            step: The batch.

        Raises:
            RuntimeError: ``teacher_share`` is set, and ``begin`` was not called before.
        """
        confidence, uncertainty = (
            self._confidence.of(step),
            row_uncertainty(step, self._uncertainty),
        )
        known = np.flatnonzero(~step.gold & np.isfinite(confidence) & np.isfinite(uncertainty))
        # Gold rows start with weight 1; all others stay at 0 until they pass.
        weights, scores = np.where(step.gold, 1.0, 0.0), np.full(len(step.ids), np.nan)
        if len(known):
            groups = (step.predicted if self._by_student else step.groups)[known]
            # The averages move first, so a batch is measured by thresholds it has already moved.
            self._update_averages(
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
            # Scores cover every judged row; only rows passing both gates get weight.
            scores[known] = _combined(
                self._combine, self._alpha, confidence[known], uncertainty[known]
            )
            weights[passed] = scores[passed]
        # The report holds the current thresholds of both sides.
        tau_teacher = self._teacher.values() if self._teacher_share is None else self._least
        return Weighed(
            weights,
            {"tau_teacher": _plain(tau_teacher), "tau_student": _plain(self._student.values())},
            scores,
        )

    def _passed(
        self, ids: Sequence[str], confidence: Floats, uncertainty: Floats, groups: Indices
    ) -> NDArray[np.bool_]:
        """True for rows held back by no gate, [B]."""
        passed = np.ones(len(ids), dtype=np.bool_)
        # The teacher's gate: its moving threshold, or the epoch's most confident rows.
        if self._gates[0] and self._teacher_share is None:
            passed &= self._teacher.passed(confidence, groups)
        elif self._gates[0]:
            if self._most_confident is None:
                raise RuntimeError(
                    "LLKD.weigh was called before begin, so the most confident rows of the epoch "
                    "are not known yet."
                )
            passed &= np.array([id in self._most_confident for id in ids], dtype=np.bool_)
        # The student's gate is always a moving threshold.
        if self._gates[1]:
            passed &= self._student.passed(uncertainty, groups)
        return passed

    def _update_averages(
        self,
        confidence: Floats,
        uncertainty: Floats,
        groups: np.ndarray[Any, Any],
        classes: int,
        outputs: int,
    ) -> None:
        """Moves the averages of both sides; with ``teacher_share``, the student's only."""
        # teacher_share replaces the teacher's averages, so the slice then skips its side.
        for side, values in ((self._teacher, confidence), (self._student, uncertainty))[
            self._teacher_share is not None :
        ]:
            if not side.started and self._start == "uniform":
                # FreeMatch's start: 1/C for every class.
                side.start(np.full(classes, 1.0 / outputs), np.arange(classes), classes)
            elif not side.started:
                side.start(values, groups, classes)
            side.update(values, groups)

    def state_dict(self) -> dict[str, Any]:
        """The averages of both sides, as plain values."""
        return {"teacher": self._teacher.state_dict(), "student": self._student.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the averages of both sides."""
        self._teacher.load_state_dict(state["teacher"])
        self._student.load_state_dict(state["student"])


def _plain(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]
