"""EvoKD by the mistakes on pool texts, dev texts or both, in whole scripted runs of both tasks."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.tasks import TaskSetup
from tests.helpers.tiny import grow, lines

from tutelage.data.pool import Pool

# A student that knows little yet makes mistakes.
EARLY = (
    "training.start_epochs=1",
    "training.round_epochs=1",
    "method.mistake_margin=0",
    "method.demonstrations=2",
)


@pytest.mark.parametrize("source", ["pool", "mixed"])
def test_pool_texts_are_labelled_learnt_and_aimed_at(
    kind: TaskSetup, workplace: Path, source: str
) -> None:
    folder = workplace / "run"
    given = [f"method.feedback={source}", "acquire=entropy", "accept=scored", "method.n_pool=6"]
    result = grow(folder, [*kind.base(), *kind.evokd, *EARLY, *given, "select=llkd"])
    rows = Pool.open(folder / "pool" / "rows.jsonl").rows
    assert result["gold_labels"] == {"shots": kind.gold, "dev": 0, "calibration": 0}
    for round in (1, 2):
        new = [row for row in rows if row.round == round]
        labelled = [row for row in new if row.source == "pool"]
        assert len(labelled) == 6
        assert {row.source for row in new} == {"pool", "hard", "easy"}
        missed = lines(folder / "feedback" / f"round-{round:03d}.jsonl")
        known = {row.id for row in rows if row.accepted and row.round in (round - 1, round)}
        assert missed
        assert {one["id"] for one in missed} <= known
        on_pool = [one for one in missed if one["source"] == "pool"]
        assert {one["id"] for one in on_pool} <= {row.id for row in labelled}
        assert source == "mixed" or len(on_pool) == len(missed)
        # What is written follows the mistakes.
        parents = {parent for row in new if row.source == "hard" for parent in row.parents}
        assert parents & {one["id"] for one in missed}
    used = [row.parents[0] for row in rows if row.source == "pool"]
    assert len(used) == len(set(used)) == 12
    # LLKD's gates see rows of all kinds.
    seen = lines(folder / "selection.jsonl")
    assert sum(sum(step["kept"].values()) for step in seen) < sum(
        sum(step["seen"].values()) for step in seen
    )


def test_dev_labels_count_as_used_where_rounds_follow_the_mistakes_on_them(
    kind: TaskSetup, workplace: Path
) -> None:
    folder = workplace / "run"
    result = grow(folder, [*kind.base(), *kind.evokd, *EARLY, "method.feedback=dev"])
    assert result["gold_labels"]["dev"] == kind.dev
    missed = lines(folder / "feedback" / "round-001.jsonl")
    assert missed
    assert {one["source"] for one in missed} == {"dev"}


def test_hard_texts_lie_between_confused_classes(kind: TaskSetup, workplace: Path) -> None:
    folder = workplace / "run"
    result = grow(folder, [*kind.base(), *kind.evokd, *EARLY, "method.pairs=true"])
    assert result["rounds"] == 2
    rows = Pool.open(folder / "pool" / "rows.jsonl").rows
    assert any(row.accepted and row.source == "hard" for row in rows)


def test_each_rewriting_of_a_row_of_high_loss_names_the_row(
    kind: TaskSetup, workplace: Path
) -> None:
    folder = workplace / "run"
    grow(folder, [*kind.base(), *kind.evokd, *EARLY, "method.seeds=loss"])
    rows = Pool.open(folder / "pool" / "rows.jsonl").rows
    hard = [row for row in rows if row.source == "hard"]
    round_of = {row.id: row.round for row in rows}
    assert hard
    assert all(round_of[parent] < row.round for row in hard for parent in row.parents)
    assert {len(row.parents) for row in hard} == {1}
