from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.doubles import ScriptedTeacher

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, Reply, Sampling, ScoreRequest
from tutelage.teacher.wrappers.transcript import TranscriptTeacher, spent_tokens


def test_every_request_is_written_with_its_reply_as_it_arrives(tmp_path):
    path = tmp_path / "teacher" / "transcript.jsonl"
    seen: list[int] = []
    teacher = TranscriptTeacher(
        ScriptedTeacher(
            lambda request: Reply(
                request.id, text="ü\u2028\n", error="" if request.id == "a" else "no"
            )
        ),
        path,
    )
    batch = [GenerateRequest("a", "p", Sampling(stop=("\n",))), ScoreRequest("b", "q", (7,))]
    teacher.ask(batch, lambda reply: seen.append(path.read_bytes().count(b"\n")))
    assert seen == [1, 2]
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    assert [line["request"]["kind"] for line in lines] == ["generate", "score"]
    assert lines[0]["reply"]["text"] == "ü\u2028\n"
    assert lines[1]["reply"]["error"] == "no"


def test_a_line_that_a_killed_run_left_half_written_swallows_nothing(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"request": {"id"')
    TranscriptTeacher(ScriptedTeacher(), path).ask([GenerateRequest("a", "p", Sampling())])
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    assert json.loads(lines[1])["request"]["id"] == "a"


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(TeacherError, match=r"transcript .* cannot be written"):
        TranscriptTeacher(ScriptedTeacher(), tmp_path).ask([GenerateRequest("a", "p", Sampling())])


def test_spent_tokens_adds_what_was_really_computed_and_forgives_a_half_line(
    tmp_path: Path,
) -> None:
    path = tmp_path / "transcript.jsonl"
    assert spent_tokens(path) == 0
    lines = [
        json.dumps(
            {"request": {}, "reply": {"cached": cached, "prompt_tokens": 5, "completion_tokens": 2}}
        )
        for cached in (False, True, False)
    ]
    path.write_text("\n".join([*lines, '{"request": {"id"']), encoding="utf-8")
    assert spent_tokens(path) == 14
