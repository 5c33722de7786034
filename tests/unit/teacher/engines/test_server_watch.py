from __future__ import annotations

import pytest

from tutelage.teacher.engines.server_watch import LabelWatch

WANTED = (" music", " food", " weather")


def watch(*missing: int, top: int = 20) -> tuple[LabelWatch, list[str]]:
    made, told = LabelWatch(top), []
    for number in missing:
        made.count(number, 3, lambda: (WANTED, (" the", "\n")))
        told.append(made.warning())
    return made, [one for one in told if one]


@pytest.mark.parametrize(
    ("missing", "verdict"),
    [
        ([3] * 7, ""),
        ([3] * 8, "None of the labels is among the 20 most likely tokens (8 of 8 replies)"),
        ([2, *[3] * 8], ""),
        ([2] * 4 + [3] * 12, "In most replies, none of the labels is"),
        ([0] * 8 + [3] * 8, ""),
        ([2] * 40, ""),
    ],
)
def test_replies_without_a_label_end_a_run(missing: list[int], verdict: str):
    found = watch(*missing)[0].verdict
    assert found.startswith(verdict)
    assert bool(found) == bool(verdict)
    if verdict:
        assert "begin with ' music', ' food', ' weather'" in found
        assert "tokens were ' the', '\\n'" in found


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ([0] * 20, []),
        ([0, 1] * 10, []),
        ([1] * 5 + [0] * 15, ["In 5 of 8 replies, some label is not among the 20 most likely"]),
        ([0] * 8 + [3], ["In 1 of 9 replies, no label is among"]),
        ([3] * 8, []),  # the verdict says so
    ],
)
def test_guessed_labels_are_told_once(missing: list[int], told: list[str]):
    found = watch(*missing)[1]
    assert len(found) == len(told)
    assert all(one.startswith(start) for one, start in zip(found, told, strict=True))


def test_guesses_are_counted_for_the_readers_of_the_results():
    assert watch(0, 1, 3)[0].summary == (
        "4 of 9 label probabilities were not among the 20 most likely tokens and got the lowest "
        "one there; 1 of 3 replies had no label at all"
    )
    assert watch(0, 0)[0].summary == ""


def test_labels_with_probabilities_of_their_own_are_never_missing():
    made, told = watch(*[3] * 20, top=0)
    assert (made.verdict, made.summary) == ("", "")
    assert ["less than 0.01 %" in one for one in told] == [True]
