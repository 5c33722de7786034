"""The engine frees its memory, and reports failed starts.

Runs after the tests sharing the session's engine, which ends here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tutelage.errors import TeacherError
from tutelage.teacher.base import GenerateRequest, Sampling
from tutelage.teacher.engines.vllm import VllmTeacher

pytestmark = pytest.mark.vllm

GREEDY = Sampling(temperature=0.0, max_tokens=12)


@pytest.mark.usefixtures("reference")
def test_the_engines_memory_comes_back(engine):
    engine.ask([GenerateRequest("0", "The capital of France is", GREEDY)])
    done = engine.hand_over()
    assert done.before > 2**29
    assert done.after == 0


def test_an_unsupported_architecture_says_so(engine, embedded_teacher, tmp_path):
    engine.hand_over()
    for path in Path(embedded_teacher).iterdir():
        if path.suffix != ".safetensors" and path.name != "config.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text(
        '{"model_type": "no_such_model", "architectures": ["NoSuchForCausalLM"]}'
    )
    with pytest.raises(TeacherError, match="use another model"):
        VllmTeacher(str(tmp_path)).ask([GenerateRequest("0", "a", GREEDY)])


def test_too_little_memory_says_so(engine, embedded_teacher):
    engine.hand_over()
    with pytest.raises(TeacherError, match="kv_cache_gb"):
        VllmTeacher(embedded_teacher, kv_cache_gb=100_000).ask([GenerateRequest("0", "a", GREEDY)])


def test_the_parents_death_ends_the_engine(engine, embedded_teacher):
    engine.hand_over()
    script = (
        "import sys, time\n"
        "from tutelage.teacher.engines.vllm import VllmTeacher\n"
        "from tutelage.teacher.base import GenerateRequest, Sampling\n"
        "teacher = VllmTeacher(sys.argv[1], max_model_len=512, kv_cache_gb=0.5)\n"
        "teacher.ask([GenerateRequest('0', 'a', Sampling(max_tokens=1))])\n"
        "print(teacher.pid, flush=True)\n"
        "long = Sampling(max_tokens=500)\n"
        "teacher.ask([GenerateRequest(str(n), 'a', long, seed=n) for n in range(200)])\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, embedded_teacher], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    time.sleep(1.0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    # The engine is busy with a step.
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone
