"""`tutelage label` by batch files with vLLM's own batch runner, beside a live vLLM server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.helpers.tiny import SAMPLE, lines
from tests.integration.test_vllm_server import free_port, wait_until_ready

from tutelage.cli import main
from tutelage.teacher.engines.hardware import child_environment, vllm_hardware

pytestmark = pytest.mark.vllm

ENGINE = ("--dtype", "float32", "--enforce-eager", "--block-size", "32", "--max-model-len", "1024")
MEMORY = ("--kv-cache-memory-bytes", str(2**29))
TEXTS = 12


def environment() -> dict[str, str]:
    found = child_environment(vllm_hardware()[0], offline=True)
    # The server and the batch runner have their engine in a child process.
    del found["VLLM_ENABLE_V1_MULTIPROCESSING"]
    return found


def run_batch(requests: Path, replies: Path, model: str, log: Path) -> None:
    """What `vllm run-batch` runs; that command itself wants the package's GPU build."""
    module = "vllm.entrypoints.launchers.run_batch"
    command = [sys.executable, "-m", module, "-i", str(requests), "-o", str(replies)]
    command += ["--model", model, *ENGINE, *MEMORY]
    with log.open("wb") as output:
        ended = subprocess.run(
            command, env=environment(), stdout=output, stderr=output, timeout=1200, check=False
        )
    assert ended.returncode == 0, log.read_text()[-3000:]


@contextmanager
def served(model: str, log: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--host", "127.0.0.1", "--port", str(port), *ENGINE, *MEMORY]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment(), stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until_ready(process, port, str(log))
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def rows(folder: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(folder / "data" / "part-00000.parquet").to_pylist())


def test_labels_by_batch_files_are_those_of_a_live_server(
    engine: Any, embedded_teacher: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.hand_over()
    heap = tmp_path / "heap.jsonl"
    heap.write_text("".join((SAMPLE / "pool.jsonl").read_text().splitlines(True)[:TEXTS]))
    requests, replies = tmp_path / "requests", tmp_path / "replies"

    def label(to: str, *more: str, url: str = "http://127.0.0.1:9/v1") -> str:
        words = ["label", "data=snips", "teacher=server", f"teacher.model={embedded_teacher}"]
        words += [f"teacher.url={url}", "teacher.api=chat", "teacher.scoring=exact"]
        words += [f"teacher.cache={tmp_path / to}.sqlite", "calibration=contextual"]
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*words, "--texts", str(heap), "--to", str(tmp_path / to), *more])
        printed = capsys.readouterr()
        assert not ended.value.code, printed.out + printed.err
        return printed.out

    told = label("files", "--batch-requests", str(requests))
    (file,) = requests.iterdir()
    assert f"{len(lines(file))} requests in 1 file" in told
    replies.mkdir()
    run_batch(file, replies / "replies-00000.jsonl", embedded_teacher, tmp_path / "batch.log")
    told = label("files", "--batch-replies", str(replies))
    assert f"{TEXTS} texts: {TEXTS} labelled" in told
    assert "warning" not in told

    with served(embedded_teacher, tmp_path / "server.log") as url:
        label("live", url=url)
    found, expected = rows(tmp_path / "files"), rows(tmp_path / "live")
    assert [row["text"] for row in found] == [row["text"] for row in expected]
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=2e-3)
        assert row["confidence"] == pytest.approx(other["confidence"], abs=2e-3)
    assert len({row["label"] for row in found}) > 1
    records = [json.loads((tmp_path / to / "label.json").read_text()) for to in ("files", "live")]
    assert records[0]["tokens"] == records[1]["tokens"]
