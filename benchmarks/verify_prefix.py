"""Question: does the engine's prefix cache make *verify* faster, and does the order matter?

    python benchmarks/verify_prefix.py [--turns 5] [--sentences 100] [--parts 0]
        [-- teacher.model=embedded]

The candidates of a sentence share their prompt up to the mention. All scoring requests of the first
Wikigold dev sentences go to one real engine in order (A) and shuffled (B), and in order to one
without a prefix cache (C), in turns A B C, C B A and so on. Our own cache is off. ``VllmTeacher``
sorts its requests, which would undo the shuffle, so that step is left out here. The prompts of a
turn begin with a line of their own, so that the prefix cache has none of them at its start.
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

from tutelage.config.build import build, build_dataset, build_task
from tutelage.config.build_labeller import build_labeller
from tutelage.config.compose import compose_config
from tutelage.labelling.base import Draft
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.teacher.base import Reply, Request, ScoreRequest
from tutelage.teacher.engines.hardware import vllm_hardware
from tutelage.teacher.engines.vllm import VllmTeacher

SETTINGS = ["task=ner", "data=wikigold", "teacher=vllm", "labelling=verify"]


class AsGiven(VllmTeacher):
    """The engine without sorting."""

    def _split_off_refused(self, requests: Sequence[Request], keep: Any) -> list[Request]:
        super()._split_off_refused(requests, keep)
        return list(requests)


class Forgetful(AsGiven):
    """The engine without a prefix cache."""

    def engine_arguments(self) -> dict[str, Any]:
        """The usual arguments, without prefix caching."""
        return {**super().engine_arguments(), "enable_prefix_caching": False}


def turn_of(requests: Sequence[Request], turn: int) -> list[ScoreRequest]:
    """The requests with a first line of this turn; that of every turn has the same length."""
    return [
        replace(request, prompt=f"Sheet {turn:03d}\n{request.prompt}")
        for request in requests
        if isinstance(request, ScoreRequest)
    ]


def seconds_of(teacher: VllmTeacher, requests: Sequence[Request]) -> float:
    """Seconds until every request is answered."""
    started = time.perf_counter()
    replies: list[Reply] = teacher.ask(requests)
    seconds = time.perf_counter() - started
    assert not any(reply.error or reply.cached for reply in replies), next(
        reply.error for reply in replies if reply.error
    )
    return seconds


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=5, help="turns of each order")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument(
        "--parts",
        type=int,
        default=0,
        help="labelling.candidate_parts: more candidates share a sentence's prompt",
    )
    parser.add_argument(
        "overrides", nargs="*", help="further settings, for instance teacher.model=embedded"
    )
    options = parser.parse_args()
    config = compose_config(
        [*SETTINGS, f"labelling.candidate_parts={options.parts}", *options.overrides]
    )
    dataset = build_dataset(config)
    task = build_task(config, dataset)
    hardware, version = vllm_hardware()
    settings = {
        name: config.teacher.settings[name]
        for name in (
            "dtype",
            "max_model_len",
            "kv_cache_gb",
            "gpu_memory_utilization",
            "chunk_size",
        )
    }
    model = config.teacher.settings["model"]
    teacher, forgetful = AsGiven(model, **settings), Forgetful(model, **settings)
    try:
        shots = ordered_demonstrations(dataset.shots(config.shots, config.seed), config.seed)
        labeller = build_labeller(config, build(config.prompt, "prompt"), task, teacher, shots)
        given = labeller.requests(
            [Draft(example.text) for example in dataset.dev[: options.sentences]]
        )
        shuffled = random.Random(config.seed).sample(given, len(given))
        orders = {
            "sentence by sentence": (teacher, given),
            "shuffled": (teacher, shuffled),
            "without a prefix cache": (forgetful, given),
        }
        for asked in (teacher, forgetful):
            seconds_of(asked, turn_of(given, 0)[:20])  # starts and warms the engine
        seconds: dict[str, list[float]] = {name: [] for name in orders}
        turn = 0
        for pair in range(options.turns):
            for name in sorted(orders, reverse=bool(pair % 2)):  # so that none is always first
                turn += 1
                asked, requests = orders[name]
                seconds[name].append(seconds_of(asked, turn_of(requests, turn)))
    finally:
        teacher.close()
        forgetful.close()
    ratios = {
        name: [
            slow / fast
            for slow, fast in zip(seconds[name], seconds["sentence by sentence"], strict=True)
        ]
        for name in ("shuffled", "without a prefix cache")
    }
    print(
        json.dumps(
            {
                "vllm": version,
                "device": hardware.device,
                "sentences": min(options.sentences, len(dataset.dev)),
                "requests": len(given),
                "requests_per_second": {
                    name: round(len(given) / statistics.median(values), 1)
                    for name, values in seconds.items()
                },
                "seconds": {
                    name: [round(value, 2) for value in values] for name, values in seconds.items()
                },
                "slower_than_sentence_by_sentence": {
                    name: round(statistics.median(values), 3) for name, values in ratios.items()
                },
                "of_each_turn": {
                    name: [round(ratio, 3) for ratio in values] for name, values in ratios.items()
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
