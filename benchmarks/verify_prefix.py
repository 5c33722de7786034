"""Claim: the order of verify's requests does not matter: the engine's prefix cache holds the sentences of a whole batch.

    python benchmarks/verify_prefix.py [--turns 5] [--sentences 100] [--parts 0] [teacher.model=embedded]

The candidates of one sentence share their prompt up to the mention. All scoring requests of the first Wikigold dev sentences go to one
real engine as given (A) and shuffled (B), in turns A B, B A, A B and so on. Our reply cache is off. ``VllmTeacher`` sorts what it is
sent, which would undo the shuffle, so that step is left out here for both. Every turn's prompts begin with a line of their own, so that
the engine's prefix cache holds none of them when the turn begins.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tutelage.compose import compose_config
from tutelage.parts import build, build_dataset, build_labeller
from tutelage.teacher.hardware import vllm_hardware
from tutelage.teacher.labelling import Draft
from tutelage.teacher.protocol import Reply, Request, ScoreRequest
from tutelage.teacher.scoring import ordered_demonstrations
from tutelage.teacher.vllm_process import VllmTeacher

SETTINGS = ["task=ner", "data=wikigold", "teacher=vllm", "teacher.ner=verify"]


class AsGiven(VllmTeacher):
    """The engine without its sorting of requests."""

    def _split_off_refused(self, requests: Sequence[Request], keep: Any) -> list[Request]:
        super()._split_off_refused(requests, keep)
        return list(requests)


def turn_of(requests: Sequence[Request], turn: int) -> list[ScoreRequest]:
    """The requests with a first line that only this turn has; every turn's is as long."""
    return [replace(request, prompt=f"Sheet {turn:03d}\n{request.prompt}") for request in requests if isinstance(request, ScoreRequest)]


def seconds_of(teacher: VllmTeacher, requests: Sequence[Request]) -> float:
    """Seconds until every request is answered."""
    started = time.perf_counter()
    replies: list[Reply] = teacher.ask(requests)
    seconds = time.perf_counter() - started
    assert not any(reply.error or reply.cached for reply in replies), next(reply.error for reply in replies if reply.error)
    return seconds


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="turns of each order")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--parts", type=int, default=0, help="teacher.candidate_parts: more candidates share a sentence's prompt")
    parser.add_argument("overrides", nargs="*", help="more settings, for instance teacher.model=embedded")
    options = parser.parse_args()
    config = compose_config([*SETTINGS, f"teacher.candidate_parts={options.parts}", *options.overrides])
    dataset = build_dataset(config)
    task = build(config.task, "task", labels=dataset.labels)
    hardware, version = vllm_hardware()
    teacher = AsGiven(
        config.teacher.model,
        dtype=config.teacher.dtype,
        max_model_len=config.teacher.max_model_len,
        kv_cache_gb=config.teacher.kv_cache_gb,
        gpu_memory_utilization=config.teacher.gpu_memory_utilization,
        chunk_size=config.teacher.chunk_size,
    )
    try:
        shots = ordered_demonstrations(dataset.shots(config.shots, config.seed), config.seed)
        labeller = build_labeller(config, build(config.prompt, "prompt"), task, teacher, shots)
        given = labeller.requests([Draft(example.text) for example in dataset.dev[: options.sentences]])
        shuffled = random.Random(config.seed).sample(given, len(given))
        seconds_of(teacher, turn_of(given, 0)[:20])  # starts and warms the engine
        orders = {"sentence by sentence": given, "shuffled": shuffled}
        seconds: dict[str, list[float]] = {name: [] for name in orders}
        turn = 0
        for pair in range(options.turns):
            for name in sorted(orders, reverse=bool(pair % 2)):  # neither order is always the first
                turn += 1
                seconds[name].append(seconds_of(teacher, turn_of(orders[name], turn)))
    finally:
        teacher.close()
    ratios = [slow / fast for slow, fast in zip(seconds["shuffled"], seconds["sentence by sentence"], strict=True)]
    print(
        json.dumps(
            {
                "vllm": version,
                "device": hardware.device,
                "sentences": min(options.sentences, len(dataset.dev)),
                "requests": len(given),
                "requests_per_second": {name: round(len(given) / statistics.median(values), 1) for name, values in seconds.items()},
                "seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
                "speedup_median": round(statistics.median(ratios), 3),
                "speedup_of_each_pair": [round(ratio, 3) for ratio in ratios],
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
