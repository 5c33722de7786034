"""One engine for many clients, against a child process without a model.

tests/integration/test_vllm_run.py has the real one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.teacher.engines.test_vllm import CHILD, CPU

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines import shared
from tutelage.teacher.engines import vllm as vllm_engine
from tutelage.teacher.engines.channel import Channel, ChannelClosed
from tutelage.teacher.engines.shared import ADDRESS, EngineHost, _Engine
from tutelage.teacher.engines.vllm import VllmTeacher

New = Callable[..., VllmTeacher]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["Tiny"]}')
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "fake_child.py").write_text(
        CHILD.replace(
            'time.sleep(60)\n        if prompt == "z broken"',
            "while not os.path.exists(os.environ['FAKE_GATE']):\n                time.sleep(0.01)\n"
            '        if prompt == "z broken"',
        )
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.setenv("FAKE_GATE", str(tmp_path / "gate"))
    monkeypatch.setattr(vllm_engine, "vllm_hardware", lambda _: (CPU, "0.32.0"))
    return folder


@pytest.fixture
def host(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineHost]:
    with EngineHost(tmp_path / "engine.log", "fake_child", dict(os.environ)) as made:
        monkeypatch.setenv(ADDRESS, made.address)
        yield made


@pytest.fixture
def new(model: Path) -> Iterator[Callable[..., VllmTeacher]]:
    """Builds teachers, and closes them after the test."""
    with contextlib.ExitStack() as made:
        yield lambda **settings: made.enter_context(
            contextlib.closing(
                VllmTeacher(str(model), start_timeout=20, reply_timeout=20, **settings)
            )
        )


def texts(*prompts: str) -> list[GenerateRequest]:
    return [GenerateRequest(str(index), prompt, Sampling()) for index, prompt in enumerate(prompts)]


def test_clients_share_one_process_and_it_outlives_them(host: EngineHost, new: New) -> None:
    assert host.pids == (), "no engine starts before the first request"
    first, second = new(), new()
    assert [reply.text for reply in first.ask(texts("a", "b"))] == ["a!!", "b!!"]
    assert [reply.logprobs for reply in second.ask([ScoreRequest("s", "x", (1, 2))])] == [
        (-1.0, -1.0)
    ]
    (pid,) = host.pids
    assert first.pid == second.pid == pid
    first.close()
    assert [reply.text for reply in second.ask(texts("c"))] == ["c!"]
    second.close()
    assert new().ask(texts("d"))[0].text == "d!"
    assert host.pids == (pid,)


def test_the_fingerprint_is_that_of_an_engine_of_its_own(
    host: EngineHost, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = new().fingerprint
    monkeypatch.delenv(ADDRESS)
    assert new().fingerprint == shared


def test_other_settings_get_another_engine(host: EngineHost, new: New) -> None:
    new().ask(texts("a"))
    new(max_model_len=512).ask(texts("a"))
    assert len(set(host.pids)) == 2


def test_a_client_waits_while_another_is_answered(
    host: EngineHost, new: New, tmp_path: Path
) -> None:
    slow, quick = new(), new()
    quick.ask(texts("warm"))
    (engine,) = host._engines.values()
    said: dict[str, str] = {}

    def ask(who: VllmTeacher, prompt: str) -> threading.Thread:
        thread = threading.Thread(
            target=lambda: said.update({prompt: who.ask(texts(prompt))[0].text})
        )
        thread.start()
        return thread

    first = ask(slow, "z silent")  # Answered once the gate exists.
    for _ in range(1000):
        if engine.turn.locked():
            break
        time.sleep(0.01)
    second = ask(quick, "q")
    second.join(0.3)
    assert said == {}
    (tmp_path / "gate").touch()
    for thread in (first, second):
        thread.join(20)
    assert said == {"z silent": "z silent!", "q": "q!"}


def test_a_client_that_breaks_off_leaves_the_engine_to_the_others(
    host: EngineHost, new: New
) -> None:
    one, other = new(), new()

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.ask(texts("a", "b", "c"), stop)
    assert [reply.text for reply in other.ask(texts("d", "e"))] == ["d!!", "e!!"]
    assert [reply.text for reply in one.ask(texts("f"))] == ["f!"], "the client can ask again"
    assert len(host.pids) == 1


def test_a_batch_that_the_engine_cannot_be_sent_leaves_the_turn_to_the_next(
    host: EngineHost,
) -> None:
    class Gone:
        pid = 1

        def send(self, message: dict[str, Any]) -> None:
            raise TeacherError(f"gone before {message['op']}")

    engine = _Engine(Gone())  # type: ignore[arg-type]
    nobody: Any = None
    with pytest.raises(TeacherError, match="gone before"):
        host._relay(engine, nobody, nobody, asking(SCORE))
    assert not engine.turn.locked()


SCORE = {"index": 0, "kind": "score", "id": "s", "prompt": "q", "choices": [1, 2]}
GENERATE = {
    "index": 0,
    "kind": "generate",
    "id": "g",
    "prompt": "q",
    "sampling": {"temperature": 1, "top_p": 1.0, "top_k": 0, "max_tokens": 4, "stop": ["x"]},
    "seed": 3,
    "json_schema": "",
}


def asking(*requests: object) -> dict[str, Any]:
    return {"op": "ask", "batch": 1, "requests": list(requests)}


def start_of(teacher: VllmTeacher) -> dict[str, Any]:
    return teacher._start_message()


@pytest.fixture
def visit(host: EngineHost) -> Iterator[Callable[[], tuple[Channel, socket.socket]]]:
    """Connects to the host without the rules of a run."""
    with contextlib.ExitStack() as made:

        def connect() -> tuple[Channel, socket.socket]:
            end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            end.connect(host.address)
            return made.enter_context(contextlib.closing(Channel(end))), end

        yield connect


MALFORMED = [
    {"op": "ask", "batch": 1},
    {"op": "ask", "batch": 1, "requests": 5},
    {"op": "ask", "requests": [SCORE]},
    asking({}),
    asking("text"),
    asking(SCORE, {**SCORE, "prompt": None}),
    asking({**SCORE, "choices": ["x"]}),
    asking({**SCORE, "choices": {}}),
    asking({**SCORE, "index": True}),
    asking({**SCORE, "kind": ["score"]}),
    asking({**SCORE, "kind": "other"}),
    asking({**GENERATE, "sampling": {}}),
    asking({**GENERATE, "sampling": {**GENERATE["sampling"], "stop": [5]}}),  # type: ignore[dict-item]
    asking({**GENERATE, "seed": "3"}),
    b"no message\n",
    b"[]\n",
    b'{"no": "op"}\n',
    b"[" * 100_000 + b"\n",
]


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: str(message)[:60])
def test_a_malformed_message_ends_its_sender_alone(
    host: EngineHost, new: New, visit: Any, message: Any
) -> None:
    teacher = new()
    teacher.ask(texts("a"))
    (pid,) = host.pids
    channel, end = visit()
    channel.send(start_of(teacher))
    assert channel.receive(20) == {"op": "ready", "pid": pid}
    if isinstance(message, bytes):
        end.sendall(message)
    else:
        channel.send(message)
        answer = channel.receive(20)
        assert answer is not None
        assert answer["op"] == "broken"
        assert "batch" in answer["message"]
    with pytest.raises(ChannelClosed):
        channel.receive(20)
    assert teacher.ask(texts("b"))[0].text == "b!"
    assert host.pids == (pid,)


@pytest.mark.parametrize(
    "message",
    [{"op": "start"}, {"op": "start", "engine": 5, "window": 1}, {"op": "ask"}, asking(SCORE)],
    ids=str,
)
def test_a_malformed_start_starts_nothing(host: EngineHost, visit: Any, message: Any) -> None:
    channel, _ = visit()
    channel.send(message)
    answer = channel.receive(20)
    assert answer["op"] == "broken"
    assert "does not start an engine" in answer["message"]
    assert host.pids == ()


def test_a_client_that_stops_reading_holds_up_nobody_and_loses_nothing(
    host: EngineHost, new: New, visit: Any
) -> None:
    teacher = new()
    teacher.ask(texts("a"))
    stopped, _ = visit()
    stopped.send(start_of(teacher))
    assert stopped.receive(20)["op"] == "ready"
    # More than both buffers of the socket hold.
    long = "long " * 50_000
    stopped.send(asking(*({**GENERATE, "index": n, "prompt": long} for n in range(40))))
    started = time.monotonic()
    assert teacher.ask(texts("b"))[0].text == "b!"
    assert time.monotonic() - started < 10
    # It goes on reading, and finds everything.
    replies = [stopped.receive(20) for _ in range(40)]
    assert [reply["index"] for reply in replies] == list(range(40))
    assert all(reply["text"].startswith(long) for reply in replies)
    stopped.send(asking(SCORE))
    assert stopped.receive(20)["op"] == "reply"


def test_a_start_that_takes_long_holds_up_no_run_whose_engine_is_there(
    host: EngineHost, new: New, visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_WAIT_SECONDS", 0.02)
    new().ask(texts("a"))
    said: list[str] = []
    late = new(max_model_len=512)
    with host._starting:  # Some other engine is being started.
        assert new().ask(texts("b"))[0].text == "b!"
        channel, _ = visit()
        channel.send(start_of(late))
        assert channel.receive(20) == {"op": "waiting"}
        thread = threading.Thread(target=lambda: said.append(late.ask(texts("c"))[0].text))
        thread.start()
        thread.join(0.2)
        assert said == []
    thread.join(20)
    assert said == ["c!"], "a sign of life is no answer to the start"


def test_a_host_without_room_for_a_connection_goes_on_listening(
    host: EngineHost, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_ACCEPT_AGAIN_SECONDS", 0.0)
    listener, refusals = host._listener, [OSError(24, "Too many open files")]

    class Full:
        def accept(self) -> tuple[socket.socket, Any]:
            if refusals:
                raise refusals.pop()
            return listener.accept()

        def close(self) -> None:
            listener.close()

    host._listener = Full()  # type: ignore[assignment]
    assert new().ask(texts("a"))[0].text == "a!"  # Accepted by the call that was waiting.
    assert new().ask(texts("b"))[0].text == "b!"
    assert not refusals


def test_a_dead_engine_is_told_and_started_again(host: EngineHost, new: New) -> None:
    one = new()
    one.ask(texts("a"))
    (before,) = host.pids
    with pytest.raises(TeacherError, match="was ended by SIGKILL"):
        one.ask(texts("z die"))
    assert one.ask(texts("b"))[0].text == "b!"
    (after,) = host.pids
    assert after != before


def test_closing_the_host_ends_its_engines_and_tells_its_clients(
    host: EngineHost, new: New
) -> None:
    one = new()
    one.ask(texts("a"))
    (pid,) = host.pids
    host.close()
    with pytest.raises((TeacherError, ConfigError), match="tutelage serve"):
        one.ask(texts("b"))
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


def test_nobody_else_may_enter_its_folder(host: EngineHost) -> None:
    assert stat.S_IMODE(Path(host.address).parent.stat().st_mode) == 0o700


def test_an_address_without_a_host_is_told(
    new: New, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ADDRESS, str(tmp_path / "gone"))
    with pytest.raises(
        ConfigError,
        match=r"no host listens there \(No such file or directory\). "
        r"Start `tutelage serve`, or unset TUTELAGE_ENGINE",
    ):
        new().ask(texts("a"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_verb_tells_its_address_and_cleans_up(number: signal.Signals) -> None:
    with _serving() as (serving, address):
        serving.send_signal(number)
        _, told = serving.communicate(timeout=20)
    assert serving.returncode == 130
    assert "the first run that needs an engine loads it" in told
    assert not address.parent.exists()


def test_what_a_killed_host_leaves_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with _serving() as (killed, left), _serving() as (_, alive):
        killed.kill()
        killed.communicate()
        for address in (left, alive):
            for file in address.parent.iterdir():
                os.utime(file, (0, 0))
        with _serving() as (_, new):
            assert [left.exists(), alive.exists(), new.exists()] == [False, True, True]
            assert not left.parent.exists()


@contextlib.contextmanager
def _serving() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`tutelage serve` with the address that it tells."""
    serving = subprocess.Popen(
        [sys.executable, "-m", "tutelage.cli", "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with serving:
        try:
            assert serving.stdout is not None
            line = serving.stdout.readline().strip().removeprefix("export ")
            name, _, address = line.partition("=")
            assert name == ADDRESS
            assert Path(address).is_socket()
            yield serving, Path(address)
        finally:
            if serving.poll() is None:
                serving.terminate()
                serving.communicate(timeout=20)


def test_a_batch_in_pieces_keeps_its_turn(
    host: EngineHost, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_engine, "_AT_ONCE", 2)
    first, second = new(chunk_size=2), new(chunk_size=2)
    heard: list[str] = []
    names = [f"{letter}{number}" for letter in "ab" for number in range(9)]
    threads = [
        threading.Thread(
            target=lambda own, teacher: teacher.ask(
                texts(*own), lambda one: heard.append(one.text)
            ),
            args=(names[start : start + 9], teacher),
        )
        for start, teacher in ((0, first), (9, second))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(text.rstrip("!") for text in heard) == names
    # An interrupted one gives it back.
    with pytest.raises(KeyboardInterrupt):
        first.ask(texts(*names), _stop)
    assert second.ask(texts("c"))[0].text == "c!"


def _stop(_: object) -> None:
    raise KeyboardInterrupt
