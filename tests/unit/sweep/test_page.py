"""A sweep's report and tables, from its folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.helpers.pages import Page
from tests.unit.sweep.sweeps import build_sweep, give_shares, results_of

from tutelage.errors import RunError
from tutelage.sweep.page import write_sweep_report
from tutelage.sweep.record import SweepFolder
from tutelage.sweep.results import read_sweep
from tutelage.sweep.tables import arms_latex

ARMS = {"shots": (0.5, 0.55, 0.6), "evokd": (0.7, 0.8, None)}


def test_arms_are_configurations_without_their_seed_and_their_data(tmp_path: Path) -> None:
    results = results_of(tmp_path, ARMS, ("snips", "trec6"))
    assert results.arms == ("shots", "evokd")
    assert results.data == ("snips", "trec6")
    assert results.blocks("evokd") == {
        ("snips", 1): 0.7,
        ("snips", 2): 0.8,
        ("trec6", 1): 0.7,
        ("trec6", 2): 0.8,
    }


def test_an_arm_of_defaults_has_its_method_s_name_and_folders_of_own_data_have_theirs(
    tmp_path: Path,
) -> None:
    folder = build_sweep(tmp_path, {"none": (0.5, 0.6), "no_easy": (0.4, 0.5)}, ("a", "b"))
    for path in (folder / "jobs").glob("*.json"):
        path.write_text(
            path.read_text().replace('"method=', '"ablation=').replace('"data=', '"data.path=some/')
        )
    for path in folder.glob("*/manifest.json"):
        path.write_text(json.dumps({"data": {"name": "files", "pool": 100}, "method": "evokd"}))
    results = read_sweep(folder)
    assert (results.arms, results.data) == (("evokd", "no_easy"), ("files a", "files b"))


def test_what_is_missing_failed_or_unequal_is_said(tmp_path: Path) -> None:
    results = results_of(tmp_path / "a", ARMS)
    assert results.notes == (
        "Job 5 failed (evokd): <b>it</b> went wrong",
        "Without seed 3: evokd on snips. Comparisons use the seeds of both arms, "
        "means use all seeds.",
    )
    folder = build_sweep(tmp_path / "b", {"one": (0.5,)})
    build_sweep(tmp_path / "c", {"one": (0.5,), "two": (0.6,)}, tokens=150)
    assert read_sweep(folder).notes == ()
    SweepFolder(folder).expect(5)
    (note,) = read_sweep(folder).notes
    assert note.endswith("of 5 jobs were never started; the same command does them.")
    path = next((tmp_path / "c").glob("*/*/1/result.json"))
    path.write_text(path.read_text().replace("150", "300"))
    assert read_sweep(tmp_path / "c" / "mine").notes == (
        "Budgets on snips differ: one billed 150 tokens per run, two 300.",
    )
    build_sweep(tmp_path / "d", {"one": (0.5,), "two": (0.6,)}, ("snips", "trec6"))
    (tmp_path / "d" / "mine" / "2026-01-01_00-00-00" / "jobs" / "003.json").unlink()
    assert read_sweep(tmp_path / "d" / "mine").notes == ("two has no run on trec6.",)


def test_the_report_is_one_page_with_figures_and_tables(tmp_path: Path) -> None:
    folder = build_sweep(tmp_path, ARMS, ("snips", "trec6"))
    path = write_sweep_report(folder.parent, target=0.4)
    assert path == folder / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert "Job 5 failed (evokd): <b>it</b> went wrong" in page.text
    assert "went wrong</b>" not in path.read_text()
    for word in (
        "Without seed 3: evokd on snips; evokd on trec6.",
        "55.0",
        "+22.5",
        "paired t-test",
        "Holm",
        "Friedman",
        "Nemenyi",
        "first reached the target, accuracy on dev",
    ):
        assert word in page.text, word
    assert not [
        attributes
        for tag, attributes in page.tags
        if tag in ("script", "link")
        and "href" in attributes
        and "data:" not in str(attributes["href"])
    ]
    names = {figure.stem for figure in (folder / "figures").glob("*.png")}
    assert names == {
        f"{kind}-{number}"
        for kind in ("arms", "curve-tokens", "curve-round", "curve-share")
        for number in (0, 1)
    } | {"ranks"}
    with (folder / "tables" / "arms.csv").open() as table:
        lines = list(csv.DictReader(table))
    assert [(line["data"], line["arm"], line["runs"]) for line in lines] == [
        (data, arm, runs)
        for data in ("snips", "trec6")
        for arm, runs in (("shots", "3"), ("evokd", "2"))
    ]
    assert float(lines[1]["accuracy_mean"]) == pytest.approx(0.75)
    assert len((folder / "tables" / "runs.csv").read_text().splitlines()) == 1 + 10
    assert len((folder / "tables" / "comparisons.csv").read_text().splitlines()) == 1 + 1


def test_an_interval_that_one_run_does_not_have_is_one_dash(tmp_path: Path) -> None:
    folder = build_sweep(tmp_path, {"shots": (0.5,), "evokd": (0.7,)})
    page = write_sweep_report(folder).read_text(encoding="utf-8")
    assert "– –" not in page
    assert '<td class="num">50.0</td><td class="num">–</td><td class="num">–</td>' in page


def test_another_metric_on_request(tmp_path: Path) -> None:
    folder = build_sweep(tmp_path, ARMS)
    write_sweep_report(folder, metric="macro_f1")
    assert (
        (folder / "tables" / "arms.csv")
        .read_text()
        .splitlines()[0]
        .startswith("data,arm,runs,macro_f1_mean")
    )
    with pytest.raises(RunError, match="have accuracy, macro_f1, not f1_strict"):
        read_sweep(folder, "f1_strict")


def test_latex_marks_the_best_and_escapes_names(tmp_path: Path) -> None:
    table = arms_latex(results_of(tmp_path, {"a_b": (0.5, 0.7), "c": (0.9, 0.9)}))
    assert r"a\_b & 60.0 {\scriptsize $\pm$ 14.1} & 200 \\" in table
    assert r"c & \textbf{90.0} {\scriptsize $\pm$ 0.0} & 200 \\" in table
    assert table.startswith(r"\begin{tabular}{lrr}")


def test_both_shares_stand_beside_the_tokens_and_an_arm_of_one_point_is_drawn(
    tmp_path: Path,
) -> None:
    folder = build_sweep(tmp_path, {"llkd": (0.5, 0.7), "shots": (0.4, 0.4)})
    for number, unique in enumerate((0.1, 0.3)):
        give_shares(folder / str(number), unique, 0.05)
        (last,) = (folder / str(number) / "metrics.jsonl").read_text().splitlines()[2:]
        (folder / str(number) / "metrics.jsonl").write_text(last + "\n")
    page = Page(write_sweep_report(folder).read_text(encoding="utf-8"))
    assert "pool used, % rows kept, %" in " ".join(page.text.split())
    with (folder / "tables" / "arms.csv").open() as table:
        shares = [
            (line["arm"], line["share_unique"], line["share_selections"])
            for line in csv.DictReader(table)
        ]
    assert shares == [("llkd", "0.2", "0.05"), ("shots", "", "")]
    with (folder / "tables" / "runs.csv").open() as table:
        assert [line["share_unique"] for line in csv.DictReader(table)] == ["0.1", "0.3", "", ""]
    latex = (folder / "tables" / "arms.tex").read_text()
    assert r"billed tokens & pool used, \% & rows kept, \% \\" in latex
    assert r"& 200 & 20.0 & 5.0 \\" in latex
    assert r"& 200 & -- & -- \\" in latex
    # The two runs of llkd are one dot at 20 % of the pool, labelled with its mean on dev.
    assert "● llkd 60.0%" in page.text


def test_a_folder_without_jobs_or_without_any_done_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no folder of a sweep \(it has no jobs/\)"):
        read_sweep(tmp_path)
    folder = build_sweep(tmp_path, {"a": (None, None)})
    with pytest.raises(
        RunError, match=r"None of the 2 jobs .* The first error: <b>it</b> went wrong"
    ):
        read_sweep(folder)
