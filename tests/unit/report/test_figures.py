"""Each figure shows the run's data, is left out without data, and is safe inline."""

from __future__ import annotations

import dataclasses
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.ner_folders import TYPES, build_ner_run
from tests.helpers.run_folders import LABELS, build_run

from tutelage.report.figures import FIGURES, draw_figures, figure_svg, save_figures
from tutelage.report.figures_learning import learning_by_round
from tutelage.report.figures_selection import selection_by_step
from tutelage.report.style import DPI, WIDTH, Colour, short
from tutelage.runs.read import Run, read_run
from tutelage.runs.records import Scores
from tutelage.tasks.spans import read_spans

HOSTILE = ("</script><img src=x onerror=alert(1)>", r"$\frac{1}$", "שלום", "日本語")


@dataclass(frozen=True)
class Saved:
    """Result of :func:`save_figures`, with matplotlib's settings before and after it."""

    paths: Sequence[Path]
    settings_before: dict[str, Any]
    settings_after: dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(build_run(tmp_path_factory.mktemp("runs") / "run"))


@pytest.fixture(scope="module")
def svgs(run: Run) -> dict[str, str]:
    return {kind.name: figure_svg(figure, kind.name) for kind, figure in draw_figures(run).items()}


def texts(run: Run, name: str) -> list[str]:
    kind = next(kind for kind in FIGURES if kind.name == name)
    figure = kind.draw(run)
    assert figure is not None
    return re.findall(r"<text[^>]*>([^<]*)</text>", figure_svg(figure, name))


@pytest.fixture(scope="module")
def saved(run: Run) -> Saved:
    import matplotlib

    before = dict(matplotlib.rcParams)
    paths = save_figures(run)
    return Saved(paths, before, dict(matplotlib.rcParams))


def test_every_figure_is_saved_at_1280_px(run: Run, saved: Saved) -> None:
    assert [path.name for path in saved.paths] == [f"{kind.name}.png" for kind in FIGURES]
    for path in saved.paths:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert int.from_bytes(content[16:20], "big") == int(WIDTH * DPI) == 1280
    assert sorted(path.name for path in (run.folder / "figures").iterdir()) == sorted(
        path.name for path in saved.paths
    )


def test_a_figure_without_data_any_more_is_removed(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run", rounds=0)
    (folder / "figures").mkdir()
    stale = folder / "figures" / "learning-by-round.png"
    stale.write_bytes(b"old")
    names = {path.name for path in save_figures(read_run(folder))}
    assert not stale.exists()
    assert "confusion-matrix.png" in names


def test_pyplot_is_never_imported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules makes the import fail, even if another test has imported it before.
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert len(draw_figures(run)) == len(FIGURES)


def test_settings_of_matplotlib_are_left_as_they_were(saved: Saved) -> None:
    assert saved.settings_after == saved.settings_before


def test_learning_curves_label_their_lines_directly(run: Run) -> None:
    found = texts(run, "learning-by-round")
    assert "supervised 93.0%" in found
    assert "teacher 74.0%" in found
    assert any(text.startswith("before ") for text in found)
    assert run.metrics[-1].test is not None
    assert f"test {run.metrics[-1].test.value('accuracy'):.1%}" in found
    assert {"accuracy, %", "macro-F1, %", "round"} <= set(found)
    assert "billed teacher tokens (prompt + completion)" in texts(run, "learning-by-tokens")


@pytest.mark.parametrize("end", [0.21, 0.343, 0.6, 1.0])
def test_learning_curves_have_ticks_at_whole_percents(run: Run, end: float) -> None:
    ends = (
        Scores({"accuracy": 0.178, "macro_f1": end - 0.01}),
        Scores({"accuracy": end, "macro_f1": end}),
    )
    lines = [
        dataclasses.replace(line, dev=one, test=None)
        for line, one in zip(run.metrics[:2], ends, strict=True)
    ]
    figure = learning_by_round(
        dataclasses.replace(run, metrics=tuple(lines), result={}, teacher=())
    )
    assert figure is not None
    for axes in figure.axes:
        percents = [100 * tick for tick in axes.get_yticks()]
        assert percents == pytest.approx([round(tick) for tick in percents])
        assert len(percents) >= 3


def test_class_panels_name_every_class(run: Run) -> None:
    assert set(LABELS) <= set(texts(run, "class-f1-by-round"))


def test_above_twenty_classes_the_twenty_worst_are_shown(tmp_path: Path) -> None:
    many = read_run(
        build_run(
            tmp_path / "run", labels=[f"class {index}" for index in range(30)], test_count=300
        )
    )
    last = many.metrics[-1].test
    assert last is not None
    worst = sorted(many.labels, key=lambda label: last.per_class[label].f1)[:20]
    assert {text for text in texts(many, "class-f1-by-round") if text.startswith("class ")} == set(
        worst
    )


def test_the_confusion_matrix_carries_counts(run: Run) -> None:
    found = texts(run, "confusion-matrix")
    right = sum(outcome.correct and outcome.target == LABELS[0] for outcome in run.after)
    assert str(right) in found
    assert set(LABELS) <= set(found)


def test_above_thirty_classes_the_top_confusions_are_listed(tmp_path: Path) -> None:
    labels = [f"a family of long class names {index}" for index in range(77)]
    many = read_run(build_run(tmp_path / "run", labels=labels, rounds=1, test_count=770))
    found = texts(many, "confusion-matrix")
    assert sum("→" in text for text in found) == 20
    assert not any(text.startswith(short(labels[3], 22) + "  ") for text in found)


def test_a_prediction_outside_the_label_space_is_shown(run: Run) -> None:
    strange = dataclasses.replace(run.after[0], predicted="something else")
    assert "something else" in texts(
        dataclasses.replace(run, after=(strange, *run.after[1:])), "confusion-matrix"
    )


def test_the_reliability_legend_has_both_errors(run: Run) -> None:
    legend = [text for text in texts(run, "teacher-reliability") if "ECE" in text]
    assert [text.split(":")[0] for text in legend] == ["raw", "calibrated"]


def test_rejected_reasons_are_counted(run: Run) -> None:
    rejected = sum(not row.accepted for row in run.rows)
    found = texts(run, "rejected-by-reason")
    assert f"rejected rows ({rejected} of {len(run.rows)})" in found
    assert "near duplicate" in found


def test_rare_reasons_are_summed(run: Run) -> None:
    rows = tuple(
        dataclasses.replace(row, accepted=False, reason=f"reason {index}")
        for index, row in enumerate(run.rows)
    )
    assert f"{len(rows) - 14} other reasons" in texts(
        dataclasses.replace(run, rows=rows), "rejected-by-reason"
    )


def test_the_share_kept_of_each_class_is_drawn_by_step(run: Run) -> None:
    figure = selection_by_step(run)
    assert figure is not None
    (axes,) = [
        axes
        for axes in figure.axes
        if "kept of each class" in axes.get_title(loc="left") + axes.get_title()
    ]
    steps = len(run.selection) // 12
    for key, curve in zip(range(len(LABELS) - 1), axes.get_lines(), strict=True):
        groups = [
            run.selection[start : start + steps] for start in range(0, len(run.selection), steps)
        ]
        sums = [
            [sum(getattr(step, name).get(key, 0) for step in group) for name in ("kept", "seen")]
            for group in groups
        ]
        assert curve.get_ydata().tolist() == [kept / seen for kept, seen in sums if seen]
        assert curve.get_xdata()[-1] == len(run.selection)
    assert (
        sum(text.endswith("% overall") for text in texts(run, "selection-by-step"))
        >= len(LABELS) - 1
    )


def test_nothing_to_draw_gives_none(run: Run) -> None:
    empty = dataclasses.replace(
        run, metrics=run.metrics[:1], rows=(), selection=(), before=(), after=(), teacher=()
    )
    assert [kind.name for kind in FIGURES if kind.draw(empty) is not None] == []
    assert draw_figures(empty) == {}


def test_rounds_without_test_scores_still_draw(run: Run) -> None:
    bare = tuple(dataclasses.replace(line, test=None) for line in run.metrics)
    assert len(draw_figures(dataclasses.replace(run, metrics=bare, result={}))) == len(FIGURES)


def test_inline_svg_is_well_formed_and_needs_no_network(svgs: dict[str, str]) -> None:
    seen: set[str] = set()
    for drawn in svgs.values():
        ET.fromstring(re.sub(r"xlink:href", "href", drawn))
        assert "http" not in drawn
        assert "<metadata" not in drawn
        ids = re.findall(r' id="([^"]+)"', drawn)
        assert not seen & set(ids)
        seen |= set(ids)
        for used in re.findall(r"url\(#([^)]+)\)", drawn) + re.findall(r'href="#([^"]+)"', drawn):
            assert used in ids
        assert not set(re.findall(r"#[0-9a-f]{6}", drawn)), (
            "a colour that the dark theme cannot change"
        )
        assert set(re.findall(r"var\(--f-(\w+)\)", drawn)) <= {
            colour.name.lower() for colour in Colour
        }


def test_hostile_labels_stay_text(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run", labels=HOSTILE, texts=HOSTILE)
    run = read_run(folder)
    drawn = "".join(figure_svg(figure, kind.name) for kind, figure in draw_figures(run).items())
    assert "<img" not in drawn
    assert "</script" not in drawn
    assert r"$\frac{1}$" in drawn
    # Characters without a font must neither raise warnings nor prevent the PNG.
    assert "rows-by-kind.png" in [path.name for path in save_figures(run)]


@pytest.fixture(scope="module")
def ner(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(build_ner_run(tmp_path_factory.mktemp("runs") / "run"))


def test_every_figure_is_drawn_for_entities(ner: Run) -> None:
    drawn = draw_figures(ner)
    assert list(drawn) == list(FIGURES)
    words = {kind.name: " ".join(kind.words(ner)) for kind in drawn}
    assert "class" not in " ".join(words.values())
    assert {"entity F1, %", "texts right, %"} <= set(texts(ner, "learning-by-round"))
    assert f"supervised {ner.result['supervised']['f1_strict']:.1%}" in texts(
        ner, "learning-by-round"
    )
    assert set(TYPES) <= set(texts(ner, "class-f1-by-round"))


def test_the_confusions_of_entities_meet_none(ner: Run) -> None:
    found = texts(ner, "confusion-matrix")
    assert "True type (with its test entities) by predicted type" in found
    errors = ner.task.metrics(ner.after)["errors"]
    assert f"none  {errors['invented']}" in found
    assert "none" in found
    assert [text for text in found if text.endswith("→ none")]
    right = sum(
        error.right == error.predicted == TYPES[0]
        for one in ner.after
        for error in ner.task.mistakes(one)
    )
    right += sum(
        span.type == TYPES[0]
        for one in ner.after
        for span in set(read_spans(one.target)) & set(read_spans(one.predicted))
    )
    assert str(right) in found


def test_the_reliability_of_entities_has_one_curve(ner: Run) -> None:
    found = texts(ner, "teacher-reliability")
    marked = [(span, one) for one in ner.teacher for span in read_spans(one.predicted)]
    right = sum(span in read_spans(one.target) for span, one in marked)
    assert f"Reliability ({len(marked)} marked entities, 15 bins)" in found
    assert [text for text in found if "ECE" in text] == [
        f"calibrated: ECE {abs(right / len(marked) - 0.8):.3f}, precision {right / len(marked):.1%}"
    ]
    silent = tuple(
        dataclasses.replace(one, predicted="[]", probabilities=()) for one in ner.teacher
    )
    assert "teacher-reliability" not in [
        kind.name for kind in draw_figures(dataclasses.replace(ner, teacher=silent))
    ]


def test_rows_rejected_for_different_names_count_together(ner: Run) -> None:
    rejected = sum(not row.accepted for row in ner.rows)
    found = texts(ner, "rejected-by-reason")
    assert "does not hold …" in found
    assert f"{rejected} · 100%" in found
    assert set(TYPES) <= set(texts(ner, "rows-by-kind"))


def test_short_keeps_both_ends() -> None:
    assert short("plain") == "plain"
    assert short("two\nlines\x00\u202e here") == "two lines here"
    cut = short("card_payment_fee_charged_17", 15)
    assert len(cut) == 15
    assert cut.startswith("card_pa")
    assert cut.endswith("ed_17")
