"""The parent's side of the engine, against a child with the same messages but without a model.

The real child is tested in tests/integration.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest
from tutelage.teacher.engines import vllm as vllm_engine
from tutelage.teacher.engines.hardware import Hardware
from tutelage.teacher.engines.vllm import VllmTeacher

CHILD = """
import os, queue, signal, socket, sys, threading, time
from tutelage.teacher.engines.channel import Channel
from tutelage.teacher.engines.vllm_child import _watch

signal.signal(signal.SIGINT, signal.SIG_IGN)
inbox = queue.SimpleQueue()
channel = Channel(socket.socket(fileno=int(sys.argv[1])))
threading.Thread(target=_watch, args=(channel, inbox, os.getppid()), daemon=True).start()
how = os.environ.get("FAKE_START", "")
start = inbox.get()
print("the child's own words", file=sys.stderr, flush=True)
if how == "fail":
    channel.send({"op": "failed", "kind": "ValueError", "message": os.environ["FAKE_MESSAGE"]})
    sys.exit(1)
if how == "exit":
    os._exit(3)
if how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "slow":
    time.sleep(60)
channel.send({"op": "ready"})
while True:
    message = inbox.get()
    if message["op"] == "close":
        break
    if message["op"] != "ask":
        continue
    for request in message["requests"]:
        prompt = request["prompt"]
        if prompt == "z die":
            os.kill(os.getpid(), signal.SIGKILL)
        if prompt == "z silent":
            time.sleep(60)
        if prompt == "z broken":
            channel.send({"op": "broken", "kind": "RuntimeError",
                          "message": "RuntimeError: out of memory"})
            time.sleep(60)
        score = request["kind"] == "score"
        channel.send({"op": "reply", "batch": message["batch"], "index": request["index"],
                      "text": "" if score else prompt + ("!" * len(message["requests"])),
                      "logprobs": [-1.0] * len(request.get("choices", [])),
                      "prompt_tokens": len(prompt), "completion_tokens": 1, "finish_reason": "stop",
                      "error": "too long" if prompt == "long" else ""})
    channel.send({"op": "done", "batch": message["batch"]})
"""

CPU = Hardware("cpu", 2, False)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["Tiny"]}')
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "fake_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.setattr(VllmTeacher, "child_module", "fake_child")
    monkeypatch.setattr(vllm_engine, "vllm_hardware", lambda _: (CPU, "0.32.0"))
    return folder


@pytest.fixture
def teacher(model: Path):
    made = VllmTeacher(str(model), start_timeout=20, reply_timeout=20)
    yield made
    made.close()


def text(name: str, prompt: str, **fields: str) -> GenerateRequest:
    return GenerateRequest(name, prompt, Sampling(), **fields)  # type: ignore[arg-type]


def test_nothing_starts_before_the_first_request(teacher):
    assert teacher.fingerprint.startswith("vllm:")
    assert teacher.ask([]) == []
    assert teacher.pid is None


def test_replies_come_in_the_askers_order_and_arrive_sorted_by_prompt(teacher):
    arrived: list[str] = []
    batch = [text("1", "c"), ScoreRequest("2", "a", (4, 5)), text("3", "b")]
    replies = teacher.ask(batch, lambda reply: arrived.append(reply.id))
    assert [reply.id for reply in replies] == ["1", "2", "3"]
    assert arrived == ["2", "3", "1"]
    assert replies[1].logprobs == (-1.0, -1.0)
    assert replies[0].text == "c!!!"


def test_one_failed_request_stops_no_other(teacher):
    replies = teacher.ask(
        [
            text("1", "long"),
            text("2", "ok"),
            ScoreRequest("3", "a", ()),
            ScoreRequest("4", "a", tuple(range(129))),
        ]
    )
    assert [bool(reply.error) for reply in replies] == [True, False, True, True]
    assert "129" in replies[3].error


def test_a_reply_that_does_not_fit_its_schema_is_an_error_with_its_text(teacher):
    reply = teacher.ask([text("1", "a", json_schema='{"type": "object"}')])[0]
    assert "not JSON" in reply.error
    assert reply.text == "a!"


def test_an_id_twice_is_refused(teacher):
    with pytest.raises(ValueError, match="twice"):
        teacher.ask([text("1", "a"), text("1", "b")])


def test_a_child_that_dies_loses_nothing_and_is_started_again(teacher):
    arrived: list[str] = []
    with pytest.raises(
        TeacherError,
        match=r"was ended by SIGKILL \(2 of 3 requests were answered\).*lack of memory",
    ) as caught:
        teacher.ask(
            [text("1", "a"), text("2", "b"), text("3", "z die")],
            lambda reply: arrived.append(reply.id),
        )
    assert "the child's own words" in str(caught.value)
    assert arrived == ["1", "2"]
    assert teacher.pid is None
    assert teacher.ask([text("1", "a")])[0].text == "a!"


def test_a_child_that_died_between_two_batches_is_replaced(teacher):
    teacher.ask([text("1", "a")])
    pid = teacher.pid
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert teacher.ask([text("1", "a")])[0].text == "a!"
    assert teacher.pid != pid


def test_a_broken_engine_is_one_error_with_advice(teacher):
    with pytest.raises(
        TeacherError, match=r"engine broke \(1 of 2 .*out of memory.*lower teacher.kv_cache_gb"
    ):
        teacher.ask([text("1", "a"), text("2", "z broken")])
    assert teacher.pid is None


def test_a_reply_that_never_comes_ends_the_child(model):
    teacher = VllmTeacher(str(model), start_timeout=20, reply_timeout=1.0)
    arrived: list[str] = []
    with pytest.raises(
        TeacherError, match=r"sent nothing for 1 seconds \(1 of 2 .*raise teacher.reply_timeout"
    ):
        teacher.ask([text("1", "a"), text("2", "z silent")], lambda reply: arrived.append(reply.id))
    assert arrived == ["1"]
    assert teacher.pid is None


def test_an_interrupted_batch_does_not_leak_into_the_next(teacher):
    class Stop(Exception):
        pass

    def stop(reply):
        raise Stop

    with pytest.raises(Stop):
        teacher.ask([text("1", "a"), text("2", "b"), text("3", "c")], stop)
    replies = teacher.ask([text("1", "x"), text("2", "y")])
    assert [reply.text for reply in replies] == ["x!!", "y!!"]


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("ValueError: Model architectures ['Odd'] are not supported", "use another model"),
        ("ModuleNotFoundError: No module named 'vllm'", r"tutelage\[cpu\].*teacher=local"),
        ("ValueError: not enough memory for the KV cache", "lower teacher.kv_cache_gb"),
        ("ValueError: max seq len 2048 is larger", "teacher.max_model_len"),
        ("OSError: x is not a valid repository", "this machine can reach the hub"),
        ("ValueError: set trust_remote_code", "if you trust it"),
        ("KeyError: 'odd'", "tutelage doctor"),
    ],
)
def test_an_engine_that_does_not_start_says_what_to_do(model, monkeypatch, message, advice):
    monkeypatch.setenv("FAKE_START", "fail")
    monkeypatch.setenv("FAKE_MESSAGE", message)
    with pytest.raises(TeacherError, match=f"(?s)did not start for .*{advice}.*child's own words"):
        VllmTeacher(str(model)).ask([text("1", "a")])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("exit", "ended with exit code 3"),
        ("killed", "ended by SIGKILL.*memory"),
        ("slow", "sent nothing for 1.5 sec.*start_timeout"),
    ],
)
def test_a_start_that_comes_to_nothing(model, monkeypatch, how, message):
    monkeypatch.setenv("FAKE_START", how)
    started = time.monotonic()
    with pytest.raises(TeacherError, match=f"(?s){message}"):
        VllmTeacher(str(model), start_timeout=1.5 if how == "slow" else 20).ask([text("1", "a")])
    assert time.monotonic() - started < 20


def test_restart_gives_the_memory_back_until_the_next_request(model):
    teacher = VllmTeacher(str(model), lifecycle="restart")
    teacher.ask([text("1", "a")])
    done = teacher.hand_over()
    assert done.before > 2**20
    assert done.after == 0
    assert teacher.pid is None
    teacher.ask([text("1", "a")])
    assert teacher.pid is not None
    teacher.close()


def test_resident_stays(teacher):
    assert teacher.hand_over().before == 0
    teacher.ask([text("1", "a")])
    pid = teacher.pid
    assert teacher.hand_over().after > 2**20
    assert teacher.pid == pid


def test_close_ends_the_child_for_certain_and_twice_is_no_error(teacher):
    teacher.ask([text("1", "a")])
    pid = teacher.pid
    teacher.close()
    teacher.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(TeacherError, match="was closed"):
        teacher.ask([text("1", "a")])


def test_the_childs_output_goes_to_the_given_file(model, tmp_path):
    log = tmp_path / "logs" / "teacher.log"
    teacher = VllmTeacher(str(model), log_path=log)
    teacher.ask([text("1", "a")])
    teacher.close()
    assert "the child's own words" in log.read_text()


def test_ctrl_c_does_not_reach_the_engine(teacher):
    teacher.ask([text("1", "a")])
    os.kill(teacher.pid, signal.SIGINT)
    assert teacher.ask([text("1", "b")])[0].text == "b!"


def test_the_parents_death_ends_the_child(model, tmp_path):
    script = (
        "import os, sys, time\n"
        "from tutelage.teacher.engines import vllm as vllm_engine\n"
        "from tutelage.teacher.engines.hardware import Hardware\n"
        "from tutelage.teacher.base import GenerateRequest, Sampling\n"
        "vllm_engine.vllm_hardware = lambda _: (Hardware('cpu', 2, False), '0.32.0')\n"
        "vllm_engine.VllmTeacher.child_module = 'fake_child'\n"
        "teacher = vllm_engine.VllmTeacher(sys.argv[1])\n"
        "teacher.ask([GenerateRequest('1', 'a', Sampling())])\n"
        # A forked worker holds the parent's end of the channel open after its death.
        "if os.fork() == 0: time.sleep(8); os._exit(0)\n"
        "print(teacher.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, str(model)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    gone, _ = psutil.wait_procs([child], timeout=5)
    parent.stdout.close()
    assert gone


def test_threads_take_turns(teacher):
    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(lambda name: teacher.ask([text("1", name)])[0].text, "abcabcabc"))
    assert said == [f"{name}!" for name in "abcabcabc"]


def test_settings_that_cannot_be(model):
    with pytest.raises(TeacherError, match="there is no such folder"):
        VllmTeacher(str(model / "nowhere"))
    with pytest.raises(ConfigError, match="sleep needs a GPU"):
        VllmTeacher(str(model), lifecycle="sleep")
    with pytest.raises(ConfigError, match="Did you mean 'restart'"):
        VllmTeacher(str(model), lifecycle="restrat")
    with pytest.raises(ConfigError, match="at least 1"):
        VllmTeacher(str(model), chunk_size=0)
    with pytest.raises(ConfigError, match=r"threads is -1; it must be 0 \(every core\) or more"):
        VllmTeacher(str(model), threads=-1)


def test_the_fingerprint_is_the_models_content_and_not_its_place(model, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_bytes((model / "config.json").read_bytes())
    one = VllmTeacher(str(model)).fingerprint
    assert VllmTeacher(str(copy)).fingerprint == one
    assert VllmTeacher(str(copy), max_model_len=1024).fingerprint != one
    assert VllmTeacher(str(copy), dtype="bfloat16").fingerprint != one


def adapter(folder: Path, weights: bytes) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 9}')
    (folder / "adapter_model.bin").write_bytes(weights)
    return str(folder)


def test_further_arguments_and_the_adapter_belong_to_the_fingerprint(model, tmp_path):
    bare = VllmTeacher(str(model)).fingerprint
    assert VllmTeacher(str(model), engine={}, threads=1).fingerprint == bare
    assert VllmTeacher(str(model), engine={"max_num_seqs": None}).fingerprint == bare
    ordered = [
        {"max_num_seqs": 8, "quantization": "fp8"},
        {"quantization": "fp8", "max_num_seqs": 8},
    ]
    assert len({VllmTeacher(str(model), engine=one).fingerprint for one in ordered} - {bare}) == 1
    adapters = [adapter(tmp_path / name, name.encode()[:1]) for name in ("a1", "a2", "b")]
    assert len({VllmTeacher(str(model), lora=one).fingerprint for one in adapters} - {bare}) == 2


def test_further_arguments_reach_the_engine(model, tmp_path, monkeypatch):
    lora = adapter(tmp_path / "lora", b"weights")
    made = VllmTeacher(str(model), engine={"max_num_seqs": 8, "enforce_eager": False}, lora=lora)
    arguments = made.engine_arguments()
    # The tool's own value for a CPU is the default, and the adapter brings what it needs.
    assert arguments["enforce_eager"] is False
    assert (arguments["max_num_seqs"], arguments["max_lora_rank"]) == (8, 16)
    started: list[dict[str, object]] = []
    monkeypatch.setattr(
        vllm_engine, "EngineProcess", lambda start, **_: started.append(start) or _raise()
    )
    with pytest.raises(TeacherError, match="no engine"):
        made.ask([text("1", "a")])
    assert started[0]["lora"] == lora
    assert started[0]["engine"] == arguments


def _raise() -> None:
    raise TeacherError("no engine")


def test_temporary_files_of_the_engine_go_with_it_and_compiled_code_stays(
    teacher, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    teacher.ask([text("1", "a")])
    folder = Path(psutil.Process(teacher.pid).environ()["TMPDIR"])
    assert folder.parent == tmp_path
    (folder / "left by vLLM").write_text("x")
    (compiled,) = folder.glob("torchinductor_*")
    (compiled / "code").write_text("x")
    teacher.close()
    assert not folder.exists()
    assert (tmp_path / compiled.name / "code").read_text() == "x"


def test_a_large_batch_goes_over_in_pieces_and_comes_back_in_order(model, monkeypatch):
    monkeypatch.setattr(vllm_engine, "_AT_ONCE", 4)
    sent: list[tuple[int, bool]] = []
    send = vllm_engine.EngineProcess.send

    def watched(self, message, progress=""):
        if message["op"] == "ask":
            sent.append((len(message["requests"]), message["more"]))
        send(self, message, progress)

    monkeypatch.setattr(vllm_engine.EngineProcess, "send", watched)
    made = VllmTeacher(str(model), start_timeout=20, reply_timeout=20, chunk_size=2)
    try:
        arrived: list[str] = []
        batch = [text(str(number), f"p{number % 7}") for number in range(14)]
        replies = made.ask(batch, lambda reply: arrived.append(reply.id))
        assert [reply.id for reply in replies] == [str(number) for number in range(14)]
        assert arrived == sorted(arrived, key=lambda id: (int(id) % 7, int(id)))
        assert sent == [(4, True), (4, True), (4, True), (2, False)]
        # No piece is smaller than what the engine takes at once.
        sent.clear()
        made._chunk_size = 9
        made.ask([text(str(number), f"q{number}") for number in range(14)])
        assert sent == [(9, True), (5, False)]
    finally:
        made.close()


def test_an_interrupted_batch_in_pieces_is_aborted(model, monkeypatch):
    monkeypatch.setattr(vllm_engine, "_AT_ONCE", 2)
    made = VllmTeacher(str(model), start_timeout=20, reply_timeout=20, chunk_size=2)

    def stop(reply):
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            made.ask([text(str(number), f"p{number}") for number in range(9)], stop)
        assert [reply.text for reply in made.ask([text("1", "b")])] == ["b!"]
    finally:
        made.close()
