"""The sample that people look at: a uniform control, and no row in two parts."""

from __future__ import annotations

from collections import Counter

from tutelage.records import LabelDistribution, Outcome, Row
from tutelage.review.sample import Sizes, draw

ROWS = [
    Row(
        f"r{number}",
        f"text {number}",
        "a",
        "pool",
        1,
        True,
        distribution=LabelDistribution(("a", "b"), (0.5 + number / 50, 0.5 - number / 50), 0.0),
    )
    for number in range(20)
]


def student(against: dict[int, float], fits: dict[int, float] | None = None) -> dict[str, Outcome]:
    """Outcomes that contradict some rows, with their confidence, and agree with all others."""
    found = {}
    for number, row in enumerate(ROWS):
        label = "b" if number in against else "a"
        sure = against.get(number, (fits or {}).get(number, 0.99))
        found[row.id] = Outcome(row.id, row.text, row.target, label, (sure, 1 - sure), "pool", 0)
    return found


def parts(sizes: Sizes, seed: int = 1, **more: object) -> dict[str, list[str]]:
    outcomes = student({3: 0.7, 12: 0.9, 0: 0.8}, {15: 0.6})
    drawn = draw(ROWS, outcomes, more.get("suspects", ()), sizes, seed)  # type: ignore[arg-type]
    assert len({one.id for one in drawn}) == len(drawn), "a row is in two parts"
    found: dict[str, list[str]] = {"control": [], "unsure": [], "disputed": []}
    for one in drawn:
        found[one.part].append(one.id)
    return {part: sorted(ids, key=lambda id: int(id[1:])) for part, ids in found.items()}


def test_the_control_is_uniform_whatever_the_other_parts_want() -> None:
    counts: Counter[str] = Counter()
    for seed in range(1000):
        control = parts(Sizes(5, 5, 3), seed)["control"]
        assert control == parts(Sizes(5, 0, 0), seed)["control"]
        counts.update(control)
    # 1000 draws of 5 of 20: 250 of each row, with a standard deviation of 13.7.
    assert set(counts) == {row.id for row in ROWS}
    assert all(abs(count - 250) < 55 for count in counts.values())


def test_a_larger_control_begins_with_the_smaller_one() -> None:
    small, large = (set(parts(Sizes(size, 0, 0))["control"]) for size in (4, 9))
    assert small < large


def test_the_other_parts_take_the_next_rows_in_place_of_the_control_s() -> None:
    drawn = parts(Sizes(5, 6, 20))
    left = [row.id for row in ROWS if row.id not in drawn["control"]]
    assert drawn["unsure"] == left[:6]
    assert sum(map(len, drawn.values())) == len(ROWS)


def test_disputed_rows_are_contradicted_by_the_student_or_an_audit_or_fit_badly() -> None:
    suspects = ("elsewhere", "r7", "r12", "r2")
    found: list[str] = []
    for size in range(1, 7):
        (new,) = set(parts(Sizes(0, 0, size), suspects=suspects)["disputed"]) - set(found)
        found.append(new)
    assert found == ["r12", "r0", "r3", "r7", "r2", "r15"]


def test_rows_without_an_opinion_are_never_unsure() -> None:
    silent = [Row(f"r{n}", f"text {n}", "a", "easy", 1, True) for n in range(20)]
    drawn = draw(silent, student({}), (), Sizes(2, 5, 0), 1)
    assert [one.part for one in drawn] == ["control", "control"]


def test_the_order_does_not_tell_the_part() -> None:
    drawn = [one.part for one in draw(ROWS, student({}), (), Sizes(6, 6, 6), 1)]
    assert drawn not in (sorted(drawn), sorted(drawn, reverse=True))
    assert drawn[:6] != ["control"] * 6
