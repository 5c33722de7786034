"""LLKD: learn from what the teacher is sure of and the student is not (after Li et al. 2025, arXiv 2411.08028, reconstructed).

At each training step, for teacher labels y_i with confidence c_i and the student's uncertainty u_i in [0, 1]::

    gT    <- m gT + (1 - m) mean_i c_i                    gS    <- m gS + (1 - m) mean_i u_i
    aT(y) <- m aT(y) + (1 - m) mean_{y_i = y} c_i         aS(y) <- m aS(y) + (1 - m) mean_{y_i = y} u_i
    tauT(y) = gT aT(y) / max_k aT(k)                      tauS(y) = gS aS(y) / max_k aS(k)
    s_i = [c_i >= tauT(y_i)] [u_i >= tauS(y_i)]           w_i = combine(c_i, u_i)

The paper names the two gates, the class-wise moving thresholds and the weights; the form of the thresholds is inferred (FreeMatch's), and
every number here is ours (README, "What we had to choose").
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tutelage.errors import ConfigError, did_you_mean
from tutelage.selectors.confidence import TeacherConfidence
from tutelage.selectors.protocol import EpochView, Floats, Normaliser, Step, Uncertainty, Weighed
from tutelage.selectors.ranked import first_of
from tutelage.selectors.uncertainty import checked_kind, uncertainty_of

Combine = Literal["product", "sum", "mix", "none"]
_COMBINE = ("product", "sum", "mix", "none")


def _combined(how: Combine, alpha: float, sure: Floats, unsure: Floats) -> Floats:
    """Weights of rows from the teacher's confidence and the student's uncertainty."""
    if how == "product":
        return sure * unsure
    if how == "none":
        return np.ones_like(sure)
    return sure + unsure if how == "sum" else alpha * sure + (1 - alpha) * unsure


class _Thresholds:
    """One side's moving averages: a global one and one a class; NaN where a class was not seen yet."""

    def __init__(self, momentum: float, per_class: bool) -> None:
        self._momentum = momentum
        self._per_class = per_class
        self._global = float("nan")
        self._classes = np.empty(0)

    def start(self, values: Floats, keys: np.ndarray[Any, Any], classes: int) -> None:
        """Begin at the means of ``values``; classes without any begin at the global mean when they are first seen."""
        self._global = float(values.mean())
        self._classes = np.array([values[keys == key].mean() if (keys == key).any() else np.nan for key in range(classes)])

    @property
    def started(self) -> bool:
        """True once there is a global mean."""
        return not np.isnan(self._global)

    def update(self, values: Floats, keys: np.ndarray[Any, Any]) -> None:
        """Move towards a batch's means."""
        m = self._momentum
        self._global = m * self._global + (1 - m) * float(values.mean())
        for key in np.unique(keys):
            old, new = self._classes[key], float(values[keys == key].mean())
            self._classes[key] = new if np.isnan(old) else m * old + (1 - m) * new

    def values(self) -> Floats:
        """tau of each class, [classes]; NaN for one that was not seen yet."""
        if not self._per_class:
            return np.where(np.isnan(self._classes), np.nan, self._global)
        highest = np.nanmax(self._classes) if not np.isnan(self._classes).all() else np.nan
        # All averages 0 (a student that is sure of everything): nothing to compare, so the global value alone.
        return self._global * (self._classes / highest if highest > 0 else np.where(np.isnan(self._classes), np.nan, 1.0))

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"global": self._global, "classes": self._classes.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them up."""
        self._global, self._classes = float(state["global"]), np.array(state["classes"], dtype=float)


class LLKD:
    """The paper's gates and weights, decided anew at every step. Gold rows pass with weight 1 and move no threshold.

    Args:
        momentum: m, of all moving averages.
        combine: w from c and u: "product", "sum", "mix" (alpha c + (1 - alpha) u), or "none" (1).
        alpha: of "mix".
        uncertainty: how u is measured.
        teacher_gate, student_gate: switch one off to have it pass everything; the teacher's alone is FreeMatch's.
        per_class: False keeps the global thresholds only.
        teacher_share: the teacher's gate passes this share of each class's rows (of all, without ``per_class``), the surest of the epoch, in
            place of what reaches the moving threshold; None: that. Ours: a moving mean passes about half of a class or more, and of these
            the labels that the student is unsure of are less often right (docs/results.md).
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
            ("start", start, ("means", "uniform")),
            ("normaliser", normaliser, ("kept", "weights", "batch")),
        ):
            if value not in known:
                raise ConfigError(did_you_mean(f"selector.{name}", value, known))
        for name, number in (("momentum", momentum), ("alpha", alpha)):
            if not 0.0 <= number <= 1.0:
                raise ConfigError(f"selector.{name}={number} must be in [0, 1].")
        if teacher_share is not None and not 0.0 < teacher_share <= 1.0:
            raise ConfigError(f"selector.teacher_share={teacher_share} must be above 0 and at most 1, or null for the moving threshold.")
        self._combine: Combine = combine
        self._alpha = alpha
        self._uncertainty = checked_kind(uncertainty)
        self._gates = (teacher_gate, student_gate)
        self._start = start
        self._confidence = TeacherConfidence(confidence)
        self._teacher, self._student = _Thresholds(momentum, per_class), _Thresholds(momentum, per_class)
        self.normaliser: Normaliser = normaliser
        self.refill = refill
        self._per_class = per_class
        self._teacher_share = teacher_share
        self._fixed: Floats | None = None
        self.needs = frozenset({"rows"}) if start == "means" or teacher_share is not None else frozenset[str]()

    def begin(self, view: EpochView) -> None:
        """Start the teacher's side from all its opinions, once; with ``teacher_share`` set its thresholds for the epoch."""
        asked = ~view.gold
        if not asked.any():
            return
        sure, keys = self._confidence.of(view)[asked], view.keys[asked]
        if not self._teacher.started and self._start == "means":
            self._teacher.start(sure, keys, view.classes)
        if self._teacher_share is not None:
            groups = [sure[keys == key] if self._per_class else sure for key in range(view.classes)]
            self._fixed = np.array([_least_of_surest(group, self._teacher_share) for group in groups])

    def weigh(self, step: Step) -> Weighed:
        """Move the thresholds, then gate and weigh the batch's rows by them."""
        sure = self._confidence.of(step)
        units = uncertainty_of(step.probabilities, self._uncertainty)
        counts = np.bincount(step.owners, minlength=len(sure))
        # A text with no word that the student sees has nothing to be unsure of.
        unsure = np.bincount(step.owners, weights=units, minlength=len(sure)) / np.maximum(counts, 1)
        asked = ~step.gold
        weights = np.ones(len(sure))
        if asked.any():
            self._prepare(sure[asked], unsure[asked], step.keys[asked], step.classes, step.probabilities.shape[-1])
            self._teacher.update(sure[asked], step.keys[asked])
            self._student.update(unsure[asked], step.keys[asked])
            passes = asked.copy()
            for gate, thresholds, values in zip(
                self._gates, (self._teacher_thresholds(), self._student.values()), (sure, unsure), strict=True
            ):
                if gate:
                    passes &= values >= thresholds[step.keys]
            weights[asked] = np.where(passes, _combined(self._combine, self._alpha, sure, unsure), 0.0)[asked]
        report = {"tau_teacher": _plain(self._teacher_thresholds()), "tau_student": _plain(self._student.values())}
        return Weighed(weights, report)

    def _teacher_thresholds(self) -> Floats:
        return self._teacher.values() if self._fixed is None else self._fixed

    def _prepare(self, sure: Floats, unsure: Floats, keys: np.ndarray[Any, Any], classes: int, outputs: int) -> None:
        for side, values in ((self._teacher, sure), (self._student, unsure)):
            if not side.started and self._start == "uniform":
                side.start(np.full(classes, 1.0 / outputs), np.arange(classes), classes)
            elif not side.started:
                side.start(values, keys, classes)

    def state_dict(self) -> dict[str, Any]:
        """Both sides' averages."""
        return {"teacher": self._teacher.state_dict(), "student": self._student.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them up."""
        self._teacher.load_state_dict(state["teacher"])
        self._student.load_state_dict(state["student"])


def _least_of_surest(values: Floats, share: float) -> float:
    """The smallest of the first values that a share keeps, largest first; NaN of none."""
    return float(np.sort(values)[-first_of(len(values), share)]) if len(values) else float("nan")


def _plain(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]
