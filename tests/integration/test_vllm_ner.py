"""A small EvoKD run for entities on the real engine, with labelling=verify."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.real_runs import SMALL_ENGINE, paid_for, same_from_the_cache, train, wikigold

from tutelage.data.pool import Pool
from tutelage.methods.generation.mentions import mentions_of
from tutelage.tasks.spans import read_spans

pytestmark = pytest.mark.vllm


def test_the_main_job_runs_on_real_parts_and_again_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    overrides = [
        *wikigold(tmp_path / "data"),
        *SMALL_ENGINE,
        f"teacher.cache={tmp_path / 'replies.sqlite'}",
        "method.rounds=1",
        "method.n_hard=6",
        "method.n_easy=6",
        "training.start_epochs=8",
        "training.round_epochs=1",
        "training.final_epochs=1",
    ]
    first = train(tmp_path / "first", *overrides)
    paid_for(tmp_path / "first", first)
    rows = Pool.open(tmp_path / "first" / "pool" / "rows.jsonl").rows
    grown = [row for row in rows if row.source != "gold"]
    assert len(grown) == 12
    assert any(row.accepted for row in grown)
    for row in grown:
        assert bool(row.reason) is not row.accepted
        if row.accepted:
            spans = read_spans(row.target)
            # A text about words that are not a name may have no entity.
            assert (
                row.asked in {type for _, type in mentions_of(row.text, row.target)}
                or "no_name" in row.detail
            )
            assert len(row.entity_confidence) == len(spans)
            assert row.distribution is not None
            assert row.distribution.labels == ("PER", "LOC", "ORG", "MISC", "O")
    assert 0.0 <= first["after"]["f1_strict"] <= 1.0
    same_from_the_cache(tmp_path / "first", tmp_path / "second", overrides, monkeypatch)
