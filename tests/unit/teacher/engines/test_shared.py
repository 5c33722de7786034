"""One engine for many clients, against a child process without a model.

tests/integration/test_vllm_run.py has the real one.
"""

from __future__ import annotations

import contextlib
import os
import signal
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
from tutelage.teacher.engines import vllm as vllm_engine
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
    monkeypatch.setattr(vllm_engine, "vllm_hardware", lambda: (CPU, "0.32.0"))
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
    with pytest.raises(TeacherError, match="gone before"):
        host._relay(engine, None, {"op": "ask", "requests": [{}]})  # type: ignore[arg-type]
    assert not engine.turn.locked()


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


def test_the_verb_tells_its_address_and_cleans_up() -> None:
    serving = subprocess.Popen(
        [sys.executable, "-m", "tutelage.cli", "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    name, _, address = serving.stdout.readline().strip().removeprefix("export ").partition("=")
    assert name == ADDRESS
    assert Path(address).is_socket()
    serving.send_signal(signal.SIGTERM)
    _, told = serving.communicate(timeout=20)
    assert serving.returncode == 130
    assert "the first run that needs an engine loads it" in told
    assert not Path(address).parent.exists()
