"""Question: what do the layers around the engine cost, compared with bare vLLM?

    python benchmarks/teacher_overhead.py [--pairs 3] [--kinds mixed chat]

The aims: at least 97 % of bare vLLM's prompts per second, and 10,000 cached requests in less than a
second. The same requests go to ``LLM.generate`` in this process (A), and through cache, transcript
and budget to the engine in its own process (B), in turns A B A B. They are of two kinds: "mixed"
are 350 scores with a common prefix and 150 texts of 24 tokens, "chat" are 200 labels of messages,
whose task, labels and examples (some 700 tokens) are common to all. A gets them as rendered texts.
Every turn has its own prompts, equal in length and kind, so that neither the prefix cache nor our
cache has them. An idle engine does not compute, so the two do not disturb each other. Timed is the
way of a run: requests in, replies out. Beside other work the clock says little; there the processor
time of all processes of a way is compared ("cpu").
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tutelage.assets import ensure_asset
from tutelage.teacher.base import (
    Chat,
    GenerateRequest,
    Message,
    Reply,
    Request,
    Sampling,
    ScoreRequest,
)
from tutelage.teacher.chat import render_text
from tutelage.teacher.engines.hardware import child_environment, vllm_hardware
from tutelage.teacher.engines.vllm import VllmTeacher
from tutelage.teacher.stack import Stack, build_teacher

SCORES, TEXTS, TOKENS = 350, 150, 24
CHATS = 200
CHOICES = (500, 501, 502, 503, 504, 505, 506)
SHOTS = (
    "Text: play some jazz\nTopic: music\n\nText: will it rain in Paris tomorrow\nTopic: weather\n\n"
    "Text: book a table for two\nTopic: food\n\n"
)


def chats_of(turn: int) -> list[Request]:
    """Labels of messages, with a long common prefix of their own."""
    labels = ("music", "weather", "food", "travel", "films", "books", "sport")
    described = "\n".join(f"{one}: everything that people ask about {one}" for one in labels)
    shots = [
        Message(role, text)
        for n in range(3)
        for label in labels
        for role, text in (
            ("user", f"Text: I would like to hear more about {label} today, number {n}, please"),
            ("assistant", label),
        )
    ]
    system = Message("system", f"Sheet {turn:03d}. Name the topic of a text.\n{described}")
    return [
        ScoreRequest(
            f"c{n}",
            Chat((system, *shots, Message("user", f"Text: request number {n:04d} of the day"))),
            CHOICES,
        )
        for n in range(CHATS)
    ]


def mixed_of(turn: int) -> list[Request]:
    """Scores and texts, with a prefix of their own."""
    shots = f"Sheet {turn:03d}\n{SHOTS}"
    batch: list[Request] = [
        ScoreRequest(f"s{n}", f"{shots}Text: request number {n:04d} of the day\nTopic:", CHOICES)
        for n in range(SCORES)
    ]
    sampling = Sampling(temperature=1.0, max_tokens=TOKENS)
    batch += [
        GenerateRequest(
            f"g{n}",
            f"Sheet {turn:03d}. Requests that people say, number {n:04d}: 1.",
            sampling,
            seed=n,
        )
        for n in range(TEXTS)
    ]
    return batch


KINDS = {"mixed": mixed_of, "chat": chats_of}


def bare(llm: Any, requests: list[Request]) -> tuple[float, float]:
    """Seconds of clock and processor for plain ``LLM.generate``, in one call."""
    from vllm import SamplingParams

    parameters = []
    for request in requests:
        if isinstance(request, ScoreRequest):
            parameters.append(
                SamplingParams(
                    max_tokens=1, temperature=0.0, logprob_token_ids=list(request.choices)
                )
            )
        else:
            parameters.append(SamplingParams(max_tokens=TOKENS, temperature=1.0, seed=request.seed))
    prompts = [
        request.prompt
        if isinstance(request.prompt, str)
        else render_text(llm.get_tokenizer(), request.prompt)
        for request in requests
    ]
    started, used = time.perf_counter(), time.process_time()
    outputs = llm.generate(prompts, parameters, use_tqdm=False)
    seconds = time.perf_counter() - started, time.process_time() - used
    assert len(outputs) == len(requests)
    return seconds


def layered(stack: Stack, engine: VllmTeacher, requests: list[Request]) -> tuple[float, float]:
    """Seconds through our layers, with none of these requests in the cache."""
    started, used = time.perf_counter(), _processor_time(engine)
    replies = stack.teacher.ask(requests)
    seconds = time.perf_counter() - started, _processor_time(engine) - used
    assert not any(reply.error or reply.cached for reply in replies)
    return seconds


def _processor_time(engine: VllmTeacher) -> float:
    times = psutil.Process(engine.pid).cpu_times() if engine.pid else None
    return time.process_time() + (times.user + times.system if times else 0.0)


def fully_cached(folder: Path) -> float:
    """Seconds for 10,000 cached requests; the engine never starts."""
    stack = build_teacher(VllmTeacher("embedded"), cache=folder / "ten-thousand.sqlite")
    batch: list[Request] = [
        ScoreRequest(f"s{n}", f"{SHOTS}Text: request number {n:05d}\nTopic:", CHOICES)
        for n in range(10_000)
    ]
    from tutelage.teacher.wrappers.cache import request_key
    from tutelage.teacher.wrappers.cache_store import CacheStore

    store = CacheStore(folder / "ten-thousand.sqlite")
    reply = Reply(
        "",
        logprobs=(-1.5,) * len(CHOICES),
        prompt_tokens=60,
        completion_tokens=1,
        finish_reason="length",
    )
    for request in batch:
        store.put(bytes.fromhex(request_key(stack.teacher.fingerprint, request)), reply)
    store.close()
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        replies = stack.teacher.ask(batch)
        seconds.append(time.perf_counter() - started)
        assert all(reply.cached for reply in replies)
    stack.close()
    return statistics.median(seconds)


def compared(
    llm: Any,
    ours: tuple[Stack, VllmTeacher],
    requests_of: Callable[[int], list[Request]],
    pairs: int,
) -> dict[str, Any]:
    """Prompts a second of both ways in turns, and the median of the ratios."""
    bare(llm, requests_of(0)[::10])
    layered(*ours, requests_of(0)[::10])
    turns = [
        (bare(llm, requests_of(2 * turn + 1)), layered(*ours, requests_of(2 * turn + 2)))
        for turn in range(pairs)
    ]
    count = len(requests_of(0))
    return {
        measure: {
            "bare": [round(one[place], 2) for one, _ in turns],
            "layered": [round(other[place], 2) for _, other in turns],
            "prompts_per_second": [
                round(count / statistics.median(turn[way][place] for turn in turns), 1)
                for way in (0, 1)
            ],
            "ratio_median": round(
                statistics.median(one[place] / other[place] for one, other in turns), 3
            ),
        }
        for place, measure in enumerate(("clock", "cpu"))
    }


def main() -> None:
    """Measures both and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=3, help="turns of each kind")
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=tuple(KINDS))
    options = parser.parse_args()
    hardware, version = vllm_hardware()
    environment = child_environment(hardware, offline=True)
    if environment.get("LD_PRELOAD") != os.environ.get("LD_PRELOAD"):
        # A preload works only at exec, and the bare engine must have it like the layered one.
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    os.environ.update(environment)
    from vllm import LLM

    model = str(ensure_asset("teacher"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cached_seconds = fully_cached(folder)
        engine = VllmTeacher(model, max_model_len=2048, kv_cache_gb=1.0)
        stack = build_teacher(
            engine,
            cache=folder / "cache.sqlite",
            record=folder / "record.jsonl",
            transcript=folder / "transcript.jsonl",
        )
        llm = LLM(**engine.engine_arguments())
        found = {
            kind: compared(llm, (stack, engine), KINDS[kind], options.pairs)
            for kind in options.kinds
        }
        stack.close()
    print(
        json.dumps(
            {
                "vllm": version,
                "device": hardware.device,
                **found,
                "ratio_aim": 0.97,
                "cached_10000_seconds": round(cached_seconds, 3),
                "cached_aim": 1.0,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
