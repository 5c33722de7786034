from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.helpers.doubles import ScriptedTeacher
from tests.helpers.replies import odd_replies

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, Reply, Sampling, ScoreRequest
from tutelage.teacher.engines.replay import ReplayTeacher
from tutelage.teacher.replies import cleaned, read_reply
from tutelage.teacher.stack import build_teacher
from tutelage.teacher.wrappers.cleaning import CleanedTeacher


def requests(count: int) -> list[GenerateRequest]:
    return [GenerateRequest(str(n), f"p {n}", Sampling()) for n in range(count)]


@settings(max_examples=50)
@given(odd_replies)
def test_cache_transcript_and_recording_hold_the_cleaned_reply(tmp_path_factory, odd):
    folder = tmp_path_factory.mktemp("run")
    files = {name: folder / name for name in ("cache", "record", "transcript")}
    # The prompt is odd, too: a user's own template may hold anything.
    batch = [GenerateRequest("g", "half a pair: \ud83d", Sampling())]
    seen = []
    for answer in (odd, Reply("g", "another")):
        stack = build_teacher(ScriptedTeacher(lambda _, answer=answer: answer), **files)
        seen.append(stack.teacher.ask(batch)[0])
        stack.close()
    clean = cleaned(odd)
    assert seen[0] == clean
    # A failure is never stored, so the request is asked again.
    assert seen[1] == (Reply("g", "another") if clean.error else replace(clean, cached=True))
    lines = [json.loads(line) for line in files["transcript"].read_bytes().splitlines()]
    assert [read_reply(line["reply"]) for line in lines] == seen
    assert [line["request"]["prompt"] for line in lines] == [batch[0].prompt] * 2
    kept = seen[1] if clean.error else seen[0]
    assert ReplayTeacher(files["record"]).ask(batch) == [replace(kept, cached=True)]


def test_the_count_does_not_depend_on_the_cache(tmp_path, caplog):
    announced: list[str] = []
    for _ in range(2):
        announced.clear()
        caplog.clear()
        stack = build_teacher(
            ScriptedTeacher(lambda asked: "half \ud83d" if asked.id == "3" else "whole"),
            cache=tmp_path / "c.sqlite",
        )
        replies = stack.teacher.ask(requests(40), lambda reply: announced.append(reply.text))
        stack.close()
        assert replies[3].text == "half \ufffd"
        assert sorted(announced) == sorted(reply.text for reply in replies)
        assert (stack.first.cleaning.changed, stack.first.cleaning.texts) == (1, 40)
        (note,) = stack.notes
        assert "1 of 40 texts" in note
        assert r"'half \ud83d'" in note
        (warning,) = caplog.messages
        assert warning == f"{note}."


@pytest.mark.parametrize(
    ("damaged", "of", "told", "stopped"),
    [(1, 200, 0, False), (3, 200, 1, False), (10, 12, 1, False), (11, 20, 0, True)],
)
def test_a_small_share_is_told_once_and_a_large_one_stops(caplog, damaged, of, told, stopped):
    caplog.set_level(logging.WARNING)
    teacher = CleanedTeacher(
        ScriptedTeacher(lambda asked: "\x00" if int(asked.id) < damaged else "fine")
    )
    if stopped:
        with pytest.raises(TeacherError, match=r"11 of 20 texts .* '\\x00'.* garbled"):
            teacher.ask(requests(of))
    else:
        teacher.ask(requests(of))
        teacher.ask(requests(1))
    assert len(caplog.messages) == told


def test_scores_have_no_text_to_count():
    teacher = CleanedTeacher(ScriptedTeacher())
    teacher.ask([ScoreRequest("a", "p", (1, 2))])
    assert (teacher.texts, teacher.notes) == (0, ())


def test_a_run_tells_of_it_on_its_own_display(caplog):
    shown: list[str] = []
    stack = build_teacher(ScriptedTeacher(lambda asked: "half \ud83d"))
    stack.begin(shown.append)
    stack.teacher.ask(requests(1))
    assert len(shown) == 1
    assert not caplog.messages
