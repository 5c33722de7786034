"""A run's learning curve by the share of the pool that it has learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.sweep.sweeps import build_sweep, give_shares

from tutelage.runs.folder import RunFolder
from tutelage.sweep.curve import read_curve


def shares(
    base: Path, unique: float | None = None, used: Sequence[int | None] = ()
) -> list[float | None]:
    run = build_sweep(base, {"llkd": (0.8,)}) / "0"
    if unique is not None:
        give_shares(run, unique, 0.5, used)
    return [point.share for point in read_curve(RunFolder(run), "accuracy", 100)]


@pytest.mark.parametrize(
    ("unique", "used", "expected"),
    [
        # 0, 10 and 20 accepted rows: of the data set's 100 texts, or of the 50 in its pool.
        (None, (), [0.0, 0.1, 0.2]),
        (0.4, (), [0.0, 0.2, 0.4]),
        # A stage ended before it had used every row.
        (0.15, (), [0.0, 0.15, 0.15]),
        # A selector chose: the rows kept so far; unknown in files of an older version.
        (0.2, (2, 5, 10), [0.04, 0.1, 0.2]),
        (0.2, (None, None, None), [None, None, 0.2]),
    ],
)
def test_the_share_is_of_what_the_student_has_learnt_from(
    tmp_path: Path, unique: float | None, used: tuple[int | None, ...], expected: list[float | None]
) -> None:
    assert shares(tmp_path, unique, used) == expected
