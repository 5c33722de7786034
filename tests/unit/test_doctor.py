from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.helpers.doubles import ScriptedTeacher
from tests.helpers.fake_server import Answer, FakeServer, chat_reply, completion

from tutelage import doctor
from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.base import Reply


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def found(checks: list[doctor.Check], name: str) -> doctor.Check:
    return next(check for check in checks if check.name.startswith(name))


def test_a_round_trip_asks_for_a_score_and_a_text_and_closes_the_engine(cache, capsys):
    teacher = ScriptedTeacher()
    checks = doctor.diagnose(None, "vllm", teacher=teacher)
    trip = found(checks, "round trip")
    assert trip.ok
    assert "first answer after" in trip.found
    assert {request.prompt for request in teacher.asked} == {
        "Question: is snow cold?\nAnswer (yes or no):",
        "Snow is",
    }
    assert teacher.closed == 1
    assert found(checks, "python").ok
    assert found(checks, "torch").ok
    doctor.print_report(checks)
    assert "round trip" in capsys.readouterr().out


def test_a_dead_engine_gives_its_advice(cache, capsys):
    def dies(request):
        raise TeacherError("the process died [red]. Lower teacher.kv_cache_gb.\nits log")

    checks = doctor.diagnose(None, "vllm", teacher=ScriptedTeacher(dies))
    trip = found(checks, "round trip")
    assert trip.ok is False
    assert "Lower teacher.kv_cache_gb" in trip.advice
    doctor.print_report(checks)
    assert "the process died [red]. Lower teacher.kv_cache_gb." in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_refused_request_is_told_of(cache):
    trip = found(
        doctor.diagnose(
            None,
            "vllm",
            teacher=ScriptedTeacher(lambda request: Reply(request.id, error="too long")),
        ),
        "round trip",
    )
    assert (trip.ok, trip.found) == (False, "too long")


def test_an_embedded_teacher_that_is_not_there_is_not_fetched(cache):
    checks = doctor.diagnose("embedded", "local")
    assert found(checks, "embedded teacher").ok is False
    assert "tutelage assets" in found(checks, "embedded teacher").advice
    assert found(checks, "round trip").advice == "Run `tutelage assets` first."


def test_a_model_of_ones_own_does_not_need_the_embedded_teacher(cache):
    checks = doctor.diagnose("/nowhere/model", "local")
    assert found(checks, "embedded teacher").ok is None
    assert "there is no such folder" in found(checks, "round trip").advice


def test_an_unknown_engine_is_named(cache):
    teacher = ScriptedTeacher()
    assert (
        "Did you mean 'vllm'"
        in found(doctor.diagnose(None, "vlm", teacher=teacher), "round trip").advice
    )
    assert teacher.closed == 1


def test_engines_with_settings_of_their_own_are_left_out(cache):
    trip = found(doctor.diagnose(None, "server"), "round trip")
    assert trip.ok is None
    assert "tutelage doctor teacher=server teacher.url=" in trip.found
    assert found(doctor.diagnose(None, "replay"), "round trip").ok is None


@pytest.fixture
def server():
    made = FakeServer()
    made.models = [{"id": "big"}]
    yield made
    made.stop()


def asked(server: FakeServer, *more: str) -> list[doctor.Check]:
    return doctor.diagnose_teacher(["teacher=server", f"teacher.url={server.url}", *more])


def vllm(path: str, body: dict[str, Any]) -> Answer:
    if path == "/tokenize":
        return 200, {"tokens": [len(body["prompt"])]}
    if path != "/v1/completions":
        return 404, {"detail": "Not Found"}
    if "response_format" in body:
        return 200, completion('{"bird": "canary"}')
    wanted = body.get("logprob_token_ids", [])
    return 200, completion("yes", {f"token_id:{token}": -1.0 for token in wanted}, model="big-7b")


def test_a_server_is_asked_what_it_can_do(cache, server, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sesame-1234567890")
    server.answer = vllm
    checks = asked(server)
    assert {check.name: check.ok for check in checks} == {
        "reachable": True,
        "completions": True,
        "speed": None,
        "token counts": None,
        "chat": None,
        "token ids": True,
        "scores": True,
        "JSON schemas": None,
    }
    assert found(checks, "reachable").found == "yes; models: big"
    assert "big, called 'big-7b'" in found(checks, "completions").found
    assert found(checks, "scores").found.startswith("exact")
    assert found(checks, "JSON schemas").found.startswith("enforced")
    assert found(checks, "chat").found == "no"
    doctor.print_report(checks)
    out = capsys.readouterr().out
    assert "Nothing to fix" in out
    assert "sesame" not in out


def most_likely(path: str, body: dict[str, Any]) -> Answer:
    if path == "/tokenize":
        return 200, {"tokens": [len(body["prompt"])]}
    if "response_format" in body or "logprob_token_ids" in body:
        return 422, {"detail": [{"loc": ["body"], "msg": "Extra inputs"}]}
    return 200, {**completion("yes", {" yes": -0.1, " maybe": -2.0}), "usage": None}


@pytest.mark.parametrize(
    ("answer", "name", "ok", "words"),
    [
        (most_likely, "scores", True, "the 20 most likely tokens; 1 of 2 test words are among"),
        (most_likely, "JSON schemas", None, "not enforced (body: Extra inputs)"),
        (most_likely, "token counts", None, "no: they will be estimated"),
        (lambda path, body: (200, completion("x")), "token ids", False, "no token ids"),
        (lambda path, body: (200, completion("x")), "scores", False, "need log-probabilities"),
        (lambda path, body: (500, b"oh no"), "completions", False, "HTTP 500 oh no"),
        (
            lambda path, body: (401, {"error": "who are you?"}),
            "completions",
            False,
            "environment variable OPENAI_API_KEY",
        ),
    ],
)
def test_what_a_server_cannot_do_is_said_with_what_to_do(cache, server, answer, name, ok, words):
    server.answer = answer
    check = found(asked(server), name)
    assert check.ok is ok
    assert words in f"{check.found} {check.advice}"


@pytest.mark.parametrize(
    ("reply", "name", "words"),
    [
        (chat_reply("yes"), "completions", "no, so prompts are chats"),
        (chat_reply("yes", thoughts="Is it?"), "chat", "yes; its model thinks before"),
        (chat_reply("yes"), "scores", "no: labels are shares of several sampled answers"),
        (chat_reply("yes", {"yes": -0.1}), "scores", "the 20 most likely tokens"),
        (chat_reply('{"bird": "canary"}'), "JSON schemas", "enforced"),
    ],
)
def test_a_server_for_chats_alone_is_a_teacher(cache, server, reply, name, words):
    server.chats = True
    server.answer = lambda path, body: (
        (200, reply) if "chat" in path else (404, {"detail": "Not Found"})
    )
    checks = asked(server)
    assert words in found(checks, name).found
    assert all(check.ok is not False for check in checks)


def test_a_server_that_is_not_there_or_has_many_models(cache, server):
    server.answer = vllm
    server.models = [{"id": "big"}, {"id": "small"}]
    assert found(asked(server), "model").advice == "Name one: teacher.model=…"
    assert found(asked(server, "teacher.model=small"), "scores").ok
    server.stop()
    assert "ConnectError" in found(asked(server), "reachable").found
    with pytest.raises(ConfigError, match="is not an address"):
        asked(server, "teacher.url=nowhere")


def test_another_engine_is_tried_with_the_settings_of_a_run(cache):
    setting = "teacher._target_=tests.helpers.teachers.LabelWritingTeacher"
    assert found(doctor.diagnose_teacher(["teacher=local", setting]), "round trip (local)").ok


def test_a_missing_engine_and_a_full_disk_and_short_memory(cache, monkeypatch):
    monkeypatch.setattr(doctor, "vllm_build", lambda: None)
    monkeypatch.setattr(doctor, "_NEEDED_DISK_GB", 10.0**9)
    monkeypatch.setattr(doctor, "_NEEDED_MEMORY_GB", 10.0**9)
    checks = doctor.diagnose(None, "vllm", teacher=ScriptedTeacher())
    assert "tutelage[cpu]" in found(checks, "engine vllm").advice
    assert "TUTELAGE_CACHE" in found(checks, "cache folder").advice
    assert "kv_cache_gb" in found(checks, "memory").advice


def test_a_cuda_torchvision_beside_a_cpu_torch_is_found_out(cache, monkeypatch):
    versions = {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}
    monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name, "1.0"))
    assert "pip uninstall" in found(doctor.diagnose(None, "server"), "torchvision").advice
