"""Reliability of the teacher's confidence, before and after calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tutelage.report.calibration_metrics import expected_calibration_error, reliability_points
from tutelage.report.style import Colour, figure_style, new_figure
from tutelage.runs.read import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 15


class _Answers(NamedTuple):
    """Answers of one kind: the teacher's confidence in each, and whether it was correct."""

    name: str
    colour: Colour
    marker: str
    confidence: list[float]
    right: list[bool]


def _answers(run: Run) -> list[_Answers]:
    answered = [opinion for opinion in run.teacher if not opinion.error]
    if not answered:
        return []
    kinds = [("calibrated", Colour.BLUE, "o")]
    if run.task.records_raw_opinions:
        kinds.insert(0, ("raw", Colour.VERMILION, "s"))
    made = []
    for name, colour, shape in kinds:
        pairs = [pair for one in answered for pair in run.task.answers(one, raw=name == "raw")]
        confidence, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        made.append(_Answers(name, colour, shape, confidence, right))
    return made


def teacher_reliability(run: Run) -> Figure | None:
    """Draw reliability curves with their calibration error, and histograms of the confidence.

    Each answer concerns one text, for NER one marked entity. Answers before calibration are shown
    if the task records them. Texts that the teacher could not label have no confidence and are left
    out.

    Returns:
        The figure; None if the teacher was not evaluated.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    answers = _answers(run)
    if not answers or not answers[0].confidence:
        return None
    wording = run.task.wording
    unit = wording.answers_left if any(one.error for one in run.teacher) else wording.answers
    with figure_style():
        figure = new_figure(4.4)
        panels: dict[str, Any] = figure.subplot_mosaic(
            [["curve", given.name] for given in answers], width_ratios=[1.0, 1.15]
        )
        curve = panels["curve"]
        curve.plot((0, 1), (0, 1), color=Colour.GREY, linewidth=1.0, linestyle=(0, (4, 3)))
        curve.annotate(
            "perfectly calibrated",
            (0.06, 0.085),
            rotation=45,
            rotation_mode="anchor",
            color=Colour.MUTED,
            fontsize=8,
        )
        # One curve and one histogram per kind of answers.
        for name, colour, shape, confidence, right in answers:
            points = reliability_points(confidence, right, _BINS)
            error = expected_calibration_error(confidence, right, _BINS)
            curve.plot(
                [point.confidence for point in points],
                [point.accuracy for point in points],
                color=colour,
                marker=shape,
                clip_on=False,
                label=f"{name}: ECE {error:.3f}, {wording.answer_score} "
                f"{sum(right) / len(right):.1%}",
            )
            # The histogram of this kind of answers.
            panel = panels[name]
            edges = [index / _BINS for index in range(_BINS + 1)]
            # Correct and wrong answers, stacked.
            split = [
                [value for value, ok in zip(confidence, right, strict=True) if ok is verdict]
                for verdict in (True, False)
            ]
            panel.hist(
                split, edges, stacked=True, color=[colour, Colour.GREY], label=["correct", "wrong"]
            )
            panel.set_title(f"Confidence, {name}")
            panel.set_ylabel(unit)
            panel.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            panel.legend(
                loc="upper left" if sum(confidence) / len(confidence) > 0.5 else "upper right",
                handlelength=1.0,
                handleheight=1.0,
            )
        # Titles and axes shared by all panels.
        curve.legend(loc="best")
        curve.set_title(f"Reliability ({len(answers[0].confidence):,} {unit}, {_BINS} bins)")
        curve.set_ylabel("share of correct answers, %")
        for axes in panels.values():
            axes.set_xlim(0, 1)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol="", decimals=0))
            axes.grid(axis="both" if axes is curve else "y")
        for name in ("curve", answers[-1].name):
            panels[name].set_xlabel("teacher's confidence, %")
        curve.set_ylim(0, 1)
        curve.yaxis.set_major_formatter(PercentFormatter(1.0, symbol="", decimals=0))
    return figure
