"""Question: does `tutelage label` keep up with its engine, and does its memory stay flat?

    python benchmarks/labelling_stream.py [--texts 100000] [--rate 0] [-- teacher.cache=null]

A stand-in for the engine, in a process of its own behind vLLM's channel, scores as fast as it can,
or ``--rate`` texts a second. It is asked alone, with prompts that are there already, and by
`tutelage label` over a heap of made-up texts. Printed: texts a second and peak memory of both, and
how it goes on every 100,000 texts. Everything is written to a temporary folder (about 4 GB for a
million texts, most of it the transcript and the cache). The time of the processor is that of the
run's own process, which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import Any

from tutelage.teacher.base import ScoreRequest
from tutelage.teacher.engines.channel import Channel
from tutelage.teacher.engines.vllm import VllmTeacher
from tutelage.teacher.engines.vllm_child import _watch

_RATE = "STAND_IN_RATE"
_WORDS = [
    "play",
    "book",
    "add",
    "find",
    "weather",
    "table",
    "song",
    "movie",
    "rate",
    "novel",
    "in",
    "for",
    "tonight",
    "my",
    "the",
    "old",
    "a",
]
_ALONE = 50_000


class StandIn(VllmTeacher):
    """vLLM's side of the run with another process behind it."""

    child_module = "labelling_stream"

    @property
    def fingerprint(self) -> str:
        """Its replies never mix with a real engine's."""
        return "labelling-stream:1"


def serve(descriptor: int) -> None:
    """Answers every request from the hash of its prompt, at the rate of the environment."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rate = float(os.environ.get(_RATE) or 0)
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    channel = Channel(socket.socket(fileno=descriptor))
    threading.Thread(target=_watch, args=(channel, inbox, os.getppid()), daemon=True).start()
    inbox.get()
    channel.send({"op": "ready"})
    due = time.monotonic()
    while (message := inbox.get())["op"] != "close":
        for request in message.get("requests", ()):
            if rate:
                due = max(due, time.monotonic() - 0.05) + 1 / rate
                if (wait := due - time.monotonic()) > 0.01:
                    time.sleep(wait)
            prompt = request["prompt"]
            seed = zlib.crc32(prompt.encode())
            scores = [-1.0 - (seed >> 3 * k) % 64 / 8 for k in range(len(request["choices"]))]
            channel.send(
                {
                    "op": "reply",
                    "batch": message["batch"],
                    "index": request["index"],
                    "text": "",
                    "logprobs": scores,
                    "prompt_tokens": len(prompt) // 4,
                    "completion_tokens": 1,
                    "finish_reason": "length",
                    "error": "",
                }
            )


def alone(count: int) -> dict[str, float]:
    """Asks the stand-in with prompts of a usual length."""
    teacher = StandIn("embedded", quantization="none")
    rng = random.Random(1)
    head = " ".join(rng.choices(_WORDS, k=150))
    requests = [
        ScoreRequest(str(n), f"{head}\nText: number {n}\nLabel:", tuple(range(7)))
        for n in range(count)
    ]
    teacher.ask(requests[:1])
    began = time.perf_counter()
    teacher.ask(requests[1:])
    seconds = time.perf_counter() - began
    teacher.close()
    return {"texts": count - 1, "seconds": seconds}


def labelled(heap: Path, to: Path, count: int, overrides: list[str]) -> dict[str, float]:
    """Labels the heap; its memory is that of this process."""
    from tutelage.data.unlabelled import Source
    from tutelage.label.command import label

    began = time.perf_counter()
    label(
        [
            "data=snips",
            "teacher._target_=labelling_stream.StandIn",
            "teacher.quantization=none",
            f"teacher.cache={to.with_name('replies.sqlite')}",
            *overrides,
        ],
        Source(heap),
        to,
    )
    return {"texts": count, "seconds": time.perf_counter() - began}


def write_heap(path: Path, count: int) -> None:
    """Writes so many different texts of about 14 words."""
    rng = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = " ".join(rng.choices(_WORDS, k=rng.randint(6, 20)))
            file.write(json.dumps({"text": f"{text} {number}"}) + "\n")


def measured(part: str, *more: str) -> dict[str, float]:
    """Runs a part in a separate process and shows its output, except for the last line."""
    command = [sys.executable, __file__, "--part", part, *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = ""
        for number, line in enumerate(process.stdout):
            if number % 10 == 9 and line.startswith("part-"):
                print(f"  {line}", end="", flush=True)
            last = line
    found: dict[str, float] = json.loads(last)
    return found


def main() -> None:
    """Prints both speeds and memories."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=0.0, help="texts a second; 0: no limit")
    parser.add_argument("--part", choices=("alone", "label"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    if options.part:
        folder = options.folder
        found = (
            alone(min(_ALONE, options.texts))
            if options.part == "alone"
            else labelled(folder / "heap.jsonl", folder / "to", options.texts, options.overrides)
        )
        used = resource.getrusage(resource.RUSAGE_SELF)
        own = used.ru_utime + used.ru_stime
        print(json.dumps({**found, "peak_gb": used.ru_maxrss / 2**20, "own": own}))
        return
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    os.environ[_RATE] = str(options.rate)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_heap(folder / "heap.jsonl", options.texts)
        common = ["--texts", str(options.texts), "--folder", name]
        for part in ("alone", "label"):
            one = measured(part, *common, "--", *options.overrides)
            speed = one["texts"] / one["seconds"]
            print(
                f"{part:6s} {one['texts']:9,.0f} texts  {one['seconds']:7.1f} s  "
                f"{speed:8,.0f} texts/s  {one['own']:7.1f} s of the processor  "
                f"peak {one['peak_gb']:.2f} GB",
                flush=True,
            )
        size = sum(file.stat().st_size for file in (folder / "to" / "data").iterdir())
        print(f"written: {size / 2**20:.1f} MB of labelled texts")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].isdigit():
        serve(int(sys.argv[1]))
    else:
        main()
