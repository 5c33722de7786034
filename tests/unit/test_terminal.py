"""Output on a terminal and elsewhere."""

from __future__ import annotations

import errno
import io
import re
import time
from typing import Any

import pytest
from rich.console import Console

from tutelage.teacher.base import Reply
from tutelage.terminal import LastingStream, TerminalProgress, new_console, print_result, say
from tutelage.timeline import Position

DEV = {"accuracy": 0.81234, "macro-F1": 0.7991}
CLASSIFICATION = [
    {"key": "accuracy", "title": "accuracy"},
    {"key": "macro_f1", "title": "macro-F1"},
]
NER = [{"key": "f1_strict", "title": "entity F1"}, {"key": "accuracy", "title": "texts right"}]


def console(terminal: bool, width: int = 100) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=width, _environ={"TERM": "xterm"}
    )


def printed(given: Console) -> str:
    assert isinstance(given.file, io.StringIO)
    return given.file.getvalue()


def cells(text: str) -> list[list[str]]:
    """Split the lines of a table into cells."""
    return [
        [cell.strip() for cell in re.split("[│┃]", line)]
        for line in text.splitlines()
        if re.search("[│┃]", line)
    ]


def go(given: Console, budget: int | None = None) -> TerminalProgress:
    """Play two stages with a few replies."""
    with TerminalProgress(3, budget, given) as reporter:
        reporter.phase("training", 0, 0)
        reporter.stage_closed(Position("start", 0, 0, 1), DEV, (7, 0))
        reporter.phase("generation", 1, 4)
        for n in range(4):
            reporter.reply(
                Reply(str(n), text="x", prompt_tokens=900, completion_tokens=100, cached=n > 1)
            )
        reporter.stage_closed(Position("round", 1, 2, 3), DEV, (9, 2))
        reporter.stage_closed(Position("final", 2, 0, 1), DEV, (9, 2))
    return reporter


def test_a_failed_reply_is_spent_but_not_billed() -> None:
    given = console(terminal=False)
    with TerminalProgress(1, None, given) as reporter:
        reporter.phase("generation", 1, 2)
        reporter.reply(Reply("0", text="x", prompt_tokens=60, completion_tokens=40))
        reporter.reply(Reply("1", error="cut off", prompt_tokens=60, completion_tokens=40))
        reporter.stage_closed(Position("round", 1, 2, 3), DEV, (1, 0))
    assert "100 tokens billed, 200 spent" in printed(given)


def test_elsewhere_plain_lines_alone() -> None:
    given = console(terminal=False)
    go(given)
    lines = printed(given).splitlines()
    assert "\x1b" not in printed(given)
    assert len(lines) == 3
    assert (
        " ".join(lines[0].split())
        == "start dev accuracy 0.812 macro-F1 0.799 rows 7 kept, 0 rejected "
        "0 tokens billed, 0 spent"
    )
    assert lines[1].split()[:2] == ["round", "1"]
    assert "rows 9 kept, 2 rejected   4,000 tokens billed, 2,000 spent" in lines[1]
    assert lines[2].split()[0] == "final"


@pytest.mark.parametrize(
    ("budget", "said"), [(None, "about 9.0 min left"), (6000, "about 2.0 min left"), (4500, "")]
)
def test_the_time_left_ends_with_the_budget(
    budget: int | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimate of the time left.

    A round takes a minute and 1,000 tokens; ten rounds are allowed, and one is over, with 4,000
    tokens billed before it.
    """
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    given = console(terminal=False)
    with TerminalProgress(10, budget, given) as reporter:
        reporter.reply(Reply("first", text="x", prompt_tokens=3000))
        reporter.stage_closed(Position("start", 0, 0, 1), DEV, (7, 0))
        now[0] = 60.0
        reporter.reply(Reply("round", text="x", prompt_tokens=1000))
        reporter.stage_closed(Position("round", 1, 2, 3), DEV, (9, 2))
    line = printed(given).splitlines()[1]
    assert line.endswith(said)
    assert ("left" in line) == bool(said)


def test_a_line_is_never_wrapped() -> None:
    given = console(terminal=False, width=40)
    go(given)
    assert len(printed(given).splitlines()) == 3


def test_on_a_terminal_the_lines_last_and_the_display_goes() -> None:
    given = console(terminal=True, width=160)
    reporter = go(given, budget=5000)
    text = printed(given)
    assert "\x1b[" in text
    assert "dev accuracy 0.812" in text
    assert "round 1/3" in text
    assert not reporter._progress.live.is_started


@pytest.mark.parametrize(
    ("budget", "left"), [(5000, "1,000 tokens left"), (100, "0 tokens left"), (None, "")]
)
def test_the_display_knows_cache_and_budget(budget: int | None, left: str) -> None:
    reporter = go(console(terminal=False), budget)
    (task,) = reporter._progress.tasks
    assert task.fields["count"] == "4/4"
    assert "2/4 from cache" in task.fields["note"]
    assert "tokens/s" in task.fields["note"]
    assert left in task.fields["note"]
    assert ("left" in task.fields["note"]) == bool(left)
    assert task.fields["where"] == "round 1/3"


def test_a_phase_of_unknown_length_counts_up() -> None:
    reporter = TerminalProgress(0, None, console(terminal=False))
    reporter.phase("calibration", 0, 0)
    reporter.reply(Reply("0"))
    assert reporter._progress.tasks[0].fields["count"] == "1"
    assert reporter._progress.tasks[0].fields["where"] == ""


def result(**changes: Any) -> dict[str, Any]:
    return {
        "metrics": CLASSIFICATION,
        "before": {"accuracy": 0.5, "macro_f1": 0.4},
        "after": {"accuracy": 0.75, "macro_f1": 0.7},
        "supervised": None,
        "teacher": None,
        "tokens": {"billed": 12345, "spent": 45},
        "seconds": {"training": 12.4, "generation": 3.6},
        "wall_seconds": 17.2,
        "rows": {"accepted": 30, "rejected": 4},
        "rounds": 3,
        "gold_labels": {"shots": 7, "dev": 0, "calibration": 0},
        **changes,
    }


def test_the_table_at_the_end() -> None:
    given = console(terminal=False)
    arms = {"accuracy": 0.9, "macro_f1": 0.88}
    print_result(
        given,
        result(supervised={**arms, "gold_labels": 2000}, teacher={**arms, "raw": 0.35}),
        "outputs/a/b",
    )
    text = printed(given)
    assert cells(text)[0][1:3] == ["test accuracy", "macro-F1"]
    for part in (
        "0.500",
        "0.750",
        "7 gold labels",
        "30 rows in 3 rounds",
        "2000 gold labels",
        "raw, uncalibrated: 0.350",
    ):
        assert part in text
    assert "12,345 billed (as if nothing were cached), 45 spent" in text
    assert "17 in all: training 12, generation 4" in text
    assert "folder   outputs/a/b\n" in text


def test_the_majority_class_is_the_last_line_of_the_table() -> None:
    given = console(terminal=False)
    constant = {"accuracy": 0.88, "macro_f1": 0.47, "label": "[bold]ham"}
    print_result(given, result(majority=constant), "outputs/a/b")
    assert "majority class" in printed(given)
    assert "0.880" in printed(given)
    assert "always [bold]ham" in printed(given)
    # A folder of an older version has no such score, and entities have none.
    for older in (result(), result(majority=None)):
        given = console(terminal=False)
        print_result(given, older, "outputs/a/b")
        assert "majority" not in printed(given)


def test_which_student_was_kept_is_told_where_dev_chose_it() -> None:
    given = console(terminal=False)
    print_result(
        given,
        result(kept={"name": "after round 2", "stage": "round", "round": 2, "dev": 0.5}),
        "outputs/a/b",
    )
    assert "kept     the student after round 2, the best on dev" in printed(given)
    given = console(terminal=False)
    print_result(given, result(kept=None), "outputs/a/b")
    assert "best on dev" not in printed(given)


def test_warnings_stand_below_the_table_as_they_are() -> None:
    given = console(terminal=False)
    warnings = ["The student is right on [bold]2[/bold] of 40 test texts.", "Another one."]
    print_result(given, result(warnings=warnings), "outputs/a/b")
    below = printed(given).partition("student after")[2]
    for warning in warnings:
        assert f"  warning {warning}\n" in below


def test_the_arms_are_left_out_where_they_were_not_run() -> None:
    given = console(terminal=False)
    print_result(given, result(), "outputs/a/b")
    assert "supervised" not in printed(given)
    assert "teacher" not in printed(given)


def test_the_table_of_entities() -> None:
    given = console(terminal=False)
    before, after = {"f1_strict": 0.108, "accuracy": 0.059}, {"f1_strict": 0.157, "accuracy": 0.095}
    teacher = {"f1_strict": 0.3, "accuracy": 0.2, "raw": None, "tokens": 9, "failed": 0}
    print_result(
        given, result(metrics=NER, before=before, after=after, teacher=teacher), "outputs/a/b"
    )
    text = printed(given)
    heads, *rows = cells(text)
    assert heads[1:3] == ["test entity F1", "texts right"]
    assert rows == [
        ["student before growth", "0.108", "0.059", "7 gold labels"],
        ["student after", "0.157", "0.095", "30 rows in 3 rounds"],
        ["teacher alone", "0.300", "0.200", ""],
    ]
    assert "raw" not in text


def test_the_line_of_a_stage_names_what_the_task_quotes() -> None:
    given = console(terminal=False)
    with TerminalProgress(3, None, given) as reporter:
        reporter.stage_closed(
            Position("start", 0, 0, 1), {"entity F1": 0.1084, "texts right": 0.05}, (4, 0)
        )
    assert (
        " ".join(printed(given).split())
        == "start dev entity F1 0.108 texts right 0.050 rows 4 kept, 0 rejected "
        "0 tokens billed, 0 spent"
    )


def test_markup_in_a_folder_s_name_is_not_interpreted() -> None:
    given = console(terminal=False, width=30)
    name = "outputs/[bold]mine[/bold]/[/red] " + "long " * 10
    print_result(given, result(), name)
    assert f"folder   {name}" in printed(given)


def test_without_rounds_there_is_one_student_and_its_shares_of_the_pool() -> None:
    given = console(terminal=False)
    shares = {
        "unique": 0.12,
        "selections": 0.041,
        "unique_rows": 120,
        "pool": 1000,
        "kept": 123,
        "passed": 3000,
    }
    print_result(given, result(rounds=0, share_of_data=shares), "outputs/a/b")
    text = printed(given)
    assert [row[0] for row in cells(text)[1:]] == ["student"]
    assert "30 rows, 7 gold labels" in text
    assert "12.0% of the pool ever trained on, 4.1% of the rows in all steps" in text


def test_a_method_that_draws_from_no_pool_tells_what_it_left_out_of_its_own_texts() -> None:
    shares = {
        "unique": None,
        "selections": 0.25,
        "used_of_offered": 0.4,
        "unique_rows": 40,
        "offered": 100,
        "pool": 0,
    }
    given = console(terminal=False)
    print_result(given, result(share_of_data=shares), "outputs/a/b")
    assert (
        "data     40.0% of the method's texts ever trained on, 25.0% of the rows in all steps"
        in printed(given)
    )


@pytest.mark.parametrize(
    "shares",
    [
        {
            "unique": None,
            "selections": 1.0,
            "used_of_offered": 1.0,
            "unique_rows": 9,
            "offered": 9,
            "pool": 0,
        },
        {
            "unique": None,
            "selections": None,
            "used_of_offered": None,
            "unique_rows": 0,
            "offered": 0,
            "pool": 0,
        },
        {"unique": None, "selections": 0.5, "unique_rows": 0, "pool": 0},
        None,
    ],
    ids=["everything", "gold alone", "an older run", "none"],
)
def test_where_nothing_was_left_out_or_told_there_is_no_line(shares: dict[str, Any] | None) -> None:
    given = console(terminal=False)
    print_result(given, result(share_of_data=shares), "outputs/a/b")
    assert "data   " not in printed(given)


def test_a_look_at_the_pool_is_counted_on_a_terminal() -> None:
    given = console(terminal=True)
    with TerminalProgress(3, None, given) as reporter:
        reporter.phase("acquisition", 1, 0)
        reporter.progress(4096, 1_000_000)
        reporter._progress.refresh()
    assert "4,096/1,000,000" in printed(given)


class Broken(io.StringIO):
    """A stream that cannot be written to after its first lines."""

    def __init__(self, error: Exception, lines: int) -> None:
        super().__init__()
        self.error, self.lines = error, lines

    def write(self, text: str) -> int:
        self.lines -= text.count("\n")
        if self.lines < 0:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("lines", [0, 1, 2])
@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(), OSError(errno.ENOSPC, "No space left"), ValueError("closed file")],
)
def test_a_display_that_cannot_be_written_to_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, error: Exception, lines: int
) -> None:
    stream = Broken(error, lines)
    monkeypatch.setattr("sys.stdout", stream)
    reporter = go(new_console())
    reporter.warn("a warning")
    reporter.notice("a notice")
    assert stream.getvalue().count("\n") == lines


def test_a_display_writes_what_its_stream_can_encode() -> None:
    raw = io.BytesIO()
    stream = LastingStream(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    stream.write("épreuve ✓\n")
    stream.write("more\n")
    assert raw.getvalue() == b"?preuve ?\nmore\n"
    assert stream.encoding == "ascii"
    assert not stream.isatty()


def test_a_closed_standard_error_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (None, Broken(BrokenPipeError(), 0)):
        monkeypatch.setattr("sys.stderr", stream)
        say("an error")
    monkeypatch.setattr("sys.stdout", None)
    go(new_console())
