"""What a run writes down of its train selector's choice: counts, hits, and the shares of data."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.classification import NAMES
from tests.helpers.fitting import SHOTS, Fit, ScriptedMethod, build, run

from tutelage.callbacks import selection_logger
from tutelage.callbacks.selection_logger import SelectionLogger
from tutelage.records import Feedback, Growth
from tutelage.runs.folder import RunFolder
from tutelage.selectors.protocol import Step, Weighed
from tutelage.selectors.row_selection import EveryRow, GradientSimilarity
from tutelage.timeline import Timeline


class Named(EveryRow):
    """Keeps the rows of these ids, gold ones only if they are among them."""

    def __init__(self, ids: Collection[str], refill: bool = False) -> None:
        self._ids = ids
        self.refill = refill

    def weigh(self, step: Step) -> Weighed:
        scores = np.array([float(id[-1]) if id[0] == "1" else np.nan for id in step.ids])
        return Weighed(
            np.array([0.5 if id in self._ids else 0.0 for id in step.ids]), {"told": True}, scores
        )


class Pooled(ScriptedMethod):
    """Its rows are of the pool; each round labels the same six texts."""

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        growth = super().next_rows(feedback, round)
        return replace(
            growth,
            rows=tuple(
                replace(row, source="pool", parents=(f"text-{n}",))
                for n, row in enumerate(growth.rows)
            ),
        )


def round_logger(fit: Fit) -> SelectionLogger:
    (found,) = [one for one in fit.trainer.callbacks if isinstance(one, SelectionLogger)]  # type: ignore[attr-defined]
    return found


def made(
    folder: Path,
    encoder: Path,
    selector: Any,
    method: ScriptedMethod | None = None,
    epochs: int = 2,
    **given: Any,
) -> Fit:
    return run(
        build(
            folder,
            encoder,
            method or ScriptedMethod(1),
            Timeline(1, epochs, 0, 0),
            selector=selector,
            **given,
        )
    )


def test_generated_rows_count_among_those_that_stood_in_a_batch(
    tmp_path: Path, encoder: Path
) -> None:
    fit = made(tmp_path, encoder, Named({"1-0", "1-2", *(f"gold-{shot.id}" for shot in SHOTS)}))
    assert round_logger(fit).shares == {
        "unique": None, "selections": 4 / 10, "used_of_offered": 2 / 5, "unique_rows": 2,
        "offered": 5, "pool": 0, "kept": 4, "passed": 10,
    }  # fmt: skip
    lines = fit.lines("selection.jsonl")
    assert [line["unique_rows"] for line in lines] == sorted(line["unique_rows"] for line in lines)
    assert lines[-1]["unique_rows"] == 2
    assert all(
        line["told"] and line["right_of_seen"] == line["right_of_kept"] == [0, 0] for line in lines
    )


def test_each_row_s_weight_and_score_are_kept_and_gold_rows_have_none(
    tmp_path: Path, encoder: Path
) -> None:
    fit = made(tmp_path, encoder, Named({"1-0", "2-2"}), Pooled(2), window="all", epochs=1)
    weights, scores = (
        {id: value for line in fit.lines("selection.jsonl") for id, value in line[name].items()}
        for name in ("rows", "scores")
    )
    assert weights == {
        f"{round}-{n}": 0.5 if (round, n) in ((1, 0), (2, 2)) else 0.0
        for round in (1, 2)
        for n in range(5)
    }
    assert scores == {
        f"{round}-{n}": float(n) if round == 1 else None for round in (1, 2) for n in range(5)
    }


def test_before_any_row_passed_by_there_are_no_shares(tmp_path: Path, encoder: Path) -> None:
    fit = made(tmp_path, encoder, Named(()), ScriptedMethod(0))
    shares = round_logger(fit).shares
    assert (shares["selections"], shares["used_of_offered"], shares["unique_rows"]) == (
        None,
        None,
        0,
    )


@pytest.mark.parametrize(("epochs", "used"), [(3, 0), (4, 1), (6, 1)])
def test_a_row_that_is_selected_and_never_stepped_on_was_not_trained_on(
    tmp_path: Path, encoder: Path, epochs: int, used: int
) -> None:
    # One row is kept in each epoch, and four make a batch.
    fit = made(
        tmp_path, encoder, Named({"1-0"}, refill=True), Pooled(1), epochs=epochs, pool_size=20
    )
    shares = round_logger(fit).shares
    assert (shares["kept"], shares["unique_rows"], fit.module.steps) == (epochs, used, used)


def test_texts_of_the_pool_count_once_however_often_they_are_labelled(
    tmp_path: Path, encoder: Path
) -> None:
    fit = made(
        tmp_path, encoder, Named({"1-0", "2-0", "2-3"}), Pooled(2), window="all", pool_size=20
    )
    shares = round_logger(fit).shares
    assert (shares["unique"], shares["unique_rows"], shares["offered"]) == (2 / 20, 2, 5)
    # In the second round a text's newer row takes the older one's place.
    assert (shares["passed"], shares["kept"]) == (2 * 5 + 2 * 5, 2 * 1 + 2 * 2)


def test_hits_are_counted_where_the_gold_label_is_known(tmp_path: Path, encoder: Path) -> None:
    # Rows 0 to 4 carry classes 0, 1, 2, 0, 1: of the known ones 0 and 3 are right, 1 is wrong.
    gold = {"text-0": NAMES[0], "text-1": NAMES[2], "text-3": NAMES[0], "another": NAMES[0]}
    fit = made(
        tmp_path,
        encoder,
        Named({"1-0", "1-1", "1-2", "1-4"}),
        Pooled(1),
        epochs=1,
        pool_size=20,
        gold=gold,
    )
    lines = [line for line in fit.lines("selection.jsonl") if line["seen"]]
    assert np.sum([line["right_of_seen"] for line in lines], axis=0).tolist() == [2, 3]
    assert np.sum([line["right_of_kept"] for line in lines], axis=0).tolist() == [1, 2]
    for name, wanted in (("seen", {"0": 2, "1": 2, "2": 1}), ("kept", {"0": 1, "1": 2, "2": 1})):
        assert {key: sum(line[name].get(key, 0) for line in lines) for key in "012"} == wanted
    assert {line["weight"] for line in lines if line["kept"]} == {0.5}
    # Step by step, for every kept and every known row.
    for line in lines:
        assert line["right_of_kept"][0] <= line["right_of_kept"][1] <= sum(line["kept"].values())
        assert line["right_of_kept"][1] <= line["right_of_seen"][1] <= sum(line["seen"].values())


def test_a_selector_without_a_report_writes_no_line_but_counts(
    tmp_path: Path, encoder: Path
) -> None:
    fit = made(tmp_path, encoder, EveryRow())
    assert not (fit.folder / "selection.jsonl").exists()
    assert (
        round_logger(fit).shares["selections"],
        round_logger(fit).shares["used_of_offered"],
    ) == (1.0, 1.0)


def test_counts_go_on_from_a_checkpoint_and_later_lines_are_taken_back(
    tmp_path: Path, encoder: Path
) -> None:
    fit = made(tmp_path, encoder, Named({"1-0"}))
    state = json.loads(json.dumps(round_logger(fit).state_dict()))
    again = SelectionLogger(RunFolder(tmp_path), 0, {})
    state["lines"] -= 1
    before = fit.lines("selection.jsonl")
    again.load_state_dict(state)
    assert again.shares == round_logger(fit).shares
    assert fit.lines("selection.jsonl") == before[:-1]


def test_gradients_are_those_of_the_moment_in_directions_of_the_run_s_seed(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, inner = list[dict[str, Any]](), selection_logger.epoch_view

    def recording(*given: Any, **named: Any) -> Any:
        views.append(named)
        return inner(*given, **named)

    monkeypatch.setattr(selection_logger, "epoch_view", recording)
    for seed in (1, 2):
        selector = GradientSimilarity(form="adam", directions=5)
        fit = build(
            tmp_path / str(seed),
            encoder,
            ScriptedMethod(1),
            Timeline(2, 1, 0, 0),
            selector=selector,
            window="all",
            seed=seed,
        )
        run(fit)
    assert [view["directions"] for view in views] == [5] * 6
    seeds = [view["seed"] for view in views]
    assert len({*seeds[:3]}) == len({*seeds[3:]}) == 1
    assert seeds[0] != seeds[3]
    steps = [view["moments"].steps for view in views[:3]]
    assert 0 == steps[0] < steps[1] < steps[2]
    # The learning rate decays within a stage and restarts with the next.
    rates = [view["rate"] for view in views[:3]]
    assert 0 < rates[1] < rates[0] <= 0.03
    assert rates[2] > rates[1]
