from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.doubles import ScriptedTeacher

from tutelage.errors import ReplayMiss, TeacherError
from tutelage.teacher.base import Chat, GenerateRequest, Message, Reply, Sampling, ScoreRequest
from tutelage.teacher.engines.replay import RecordingTeacher, ReplayTeacher

CHAT = Chat((Message("user", "Write a text."),))


def request(name: str, prompt: str = "p", seed: int = 0) -> GenerateRequest:
    return GenerateRequest(name, prompt, Sampling(), seed=seed)


@given(prompts=st.lists(st.text(), min_size=1, max_size=5), texts=st.lists(st.text(), max_size=4))
def test_a_recording_plays_back_what_was_recorded(tmp_path_factory, prompts, texts):
    path = tmp_path_factory.mktemp("recording") / "r.jsonl"
    batch = [request(f"g{n}", prompt, n) for n, prompt in enumerate(prompts)] + [
        ScoreRequest("s", prompts[0], (3, 5))
    ]
    recorder = RecordingTeacher(ScriptedTeacher(fingerprint="engine:7"), path)
    said = recorder.ask(batch)
    ids = recorder.tokenize(texts)
    replay = ReplayTeacher(path)
    assert replay.fingerprint == "engine:7"
    assert replay.tokenize(texts) == ids
    played = replay.ask(list(reversed(batch)))
    assert [(reply.id, reply.text, reply.logprobs, reply.tokens) for reply in reversed(played)] == [
        (reply.id, reply.text, reply.logprobs, reply.tokens) for reply in said
    ]
    assert all(reply.cached for reply in played)


def test_a_miss_names_the_request_and_the_nearest_prompt(tmp_path):
    path = tmp_path / "r.jsonl"
    RecordingTeacher(ScriptedTeacher(), path).ask(
        [request("a", "play some jazz"), request("b", "what is the weather")]
    )
    replay = ReplayTeacher(path)
    with pytest.raises(
        ReplayMiss,
        match=r"request 'x' \(generate\): 'play some rock'.*"
        r"most similar recorded prompt \(\d+ % alike\): 'play some jazz'",
    ):
        replay.ask([request("x", "play some rock")])
    with pytest.raises(ReplayMiss, match="same prompt was recorded with other"):
        replay.ask([request("x", "play some jazz", seed=4)])
    with pytest.raises(ReplayMiss, match="no token ids for 'unknown'"):
        replay.tokenize(["unknown"])


def test_a_resumed_recording_is_gone_on_with_after_a_half_written_line(tmp_path):
    path = tmp_path / "r.jsonl"
    RecordingTeacher(ScriptedTeacher(), path).ask([request("a")])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "12')
    assert ReplayTeacher(path).ask([request("z")])[0].text == "p #0"
    RecordingTeacher(ScriptedTeacher(), path).ask([request("a"), request("b", "q")])
    lines = path.read_bytes().splitlines()
    assert path.read_bytes().startswith(whole)
    assert len(lines) == 3
    assert ReplayTeacher(path).ask([request("b", "q")])[0].text == "q #0"


def test_a_recorded_failure_is_played_back_until_an_answer_follows(tmp_path):
    path = tmp_path / "r.jsonl"
    RecordingTeacher(ScriptedTeacher(lambda asked: Reply(asked.id, error="too long")), path).ask(
        [request("a")]
    )
    assert ReplayTeacher(path).ask([request("a")])[0].error == "too long"
    RecordingTeacher(ScriptedTeacher(), path).ask([request("a")])
    assert ReplayTeacher(path).ask([request("a")])[0].error == ""


def test_a_recording_of_another_engine_is_not_mixed_with(tmp_path):
    path = tmp_path / "r.jsonl"
    RecordingTeacher(ScriptedTeacher(fingerprint="one"), path).ask([request("a")])
    with pytest.raises(TeacherError, match="is a recording of one, but this run's teacher is two"):
        RecordingTeacher(ScriptedTeacher(fingerprint="two"), path).ask([request("a")])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a recording"),
        (b"{}\n", "line 1 .* cannot be read"),
        (b'{"recording": 9, "fingerprint": "f"}\n', "format 9"),
        (b'{"recording": 1, "fingerprint": "f"}\nnot json\n', "line 2 .* cannot be read"),
        *(
            (b'{"recording": 1, "fingerprint": "f"}\n' + line + b"\n", "line 2 .* cannot be read")
            for line in (
                b"[]",
                b"\xff",
                b"[" * 100_000,
                b'{"tokenize": "a", "ids": ["x"]}',
                b'{"tokenize": "a", "ids": [Infinity]}',
                b'{"key": "k", "request": {"prompt": "p"}, "reply": {"text": 5}}',
                b'{"key": "k", "request": {"prompt": "p"}, "reply": []}',
                b'{"key": "k", "request": 5, "reply": {"text": 5}}',
            )
        ),
    ],
)
def test_a_broken_recording_is_told_of(tmp_path, content, message):
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(TeacherError, match=message):
        ReplayTeacher(path)


def test_a_recording_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(TeacherError, match=r"teacher\.record="):
        ReplayTeacher(tmp_path / "none.jsonl")


@pytest.mark.parametrize(("prompts", "scores"), [(["text"], True), ([CHAT], False)])
def test_a_recording_knows_whether_chats_suited_its_engine(tmp_path, prompts, scores):
    """Labels may all have been asked by texts to continue, and still be those of a chat model."""
    path = tmp_path / "r.jsonl"
    batch = [request(str(number), prompt) for number, prompt in enumerate(prompts)]
    RecordingTeacher(ScriptedTeacher(), path, suits_chat=lambda: True).ask(batch)
    assert ReplayTeacher(path).speaks_chat
    assert ReplayTeacher(path).scores_texts is scores
    other = tmp_path / "other.jsonl"
    RecordingTeacher(ScriptedTeacher(), other).ask(batch)
    assert "suits_chat" not in other.read_text(encoding="utf-8")
    assert ReplayTeacher(other).speaks_chat is not scores
