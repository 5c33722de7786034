"""Question: what do int8 weights on a CPU gain in speed and memory, and what do they cost?

    python benchmarks/int8.py [--models embedded qwen2.5-coder-0.5b qwen2.5-coder-1.5b]
        [--turns 2] [--texts 60] [--bfloat16-below 1.0] [--lifecycle restart]

Each model runs as float32, bfloat16 and int8 (activations between layers in float32), all three
engines loaded and asked in turns; an idle engine does not compute. Printed: written tokens a second
(decode: 32 texts at once), read tokens a second (prefill: 16 prompts of some 130 tokens), labels a
second (SNIPS test texts after a common prompt with one shot per class), resident memory, accuracy
(batch-calibrated), and beside float32: the share of equal labels, the mean and largest difference
of a label's log-probability, the share of equal greedy continuations of 24 tokens, and the highest
probability (float32) of a label that changed ("surest"). Rates are medians over the turns,
after one turn that warms the engine up.
``--bfloat16-below`` leaves bfloat16 out for larger models, in billions of parameters: without
bfloat16 units it is many times slower than float32. ``--lifecycle restart`` ends each engine after
its turn, where the memory does not hold all three.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tutelage.config.build import build_dataset
from tutelage.config.compose import compose_config
from tutelage.teacher.base import GenerateRequest, Reply, Request, Sampling, ScoreRequest
from tutelage.teacher.engines.model_files import resolve_model
from tutelage.teacher.engines.vllm import VllmTeacher

TYPES: dict[str, tuple[Literal["float32", "bfloat16"], Literal["none", "int8"]]] = {
    "float32": ("float32", "none"),
    "bfloat16": ("bfloat16", "none"),
    "int8": ("float32", "int8"),
}
WRITE = Sampling(temperature=1.0, max_tokens=24)
GREEDY = Sampling(temperature=0.0, max_tokens=24)


@dataclass(frozen=True)
class Snips:
    """Test texts, their gold labels by number, the labels' words, and the prompt before a text."""

    texts: list[str]
    gold: np.ndarray
    words: list[str]
    head: str

    def prompt(self, text: str, turn: int) -> str:
        """A text's label prompt; the turn makes it new to the engine's prefix cache."""
        return f"Sheet {turn:03d}\n{self.head}Text: {text}\nTopic:"


def snips(count: int) -> Snips:
    """The first texts of the shuffled test set, and one shot per class."""
    dataset = build_dataset(compose_config(["data=snips"]))
    names = [label.name for label in dataset.labels]
    words = [label.word for label in dataset.labels]
    test = random.Random(1).sample(list(dataset.test), count)
    shots = dataset.shots(1, 1)
    head = f"Each text is about one of these topics: {', '.join(words)}.\n\n" + "".join(
        f"Text: {shot.text}\nTopic: {words[names.index(str(shot.label))]}\n\n" for shot in shots
    )
    gold = np.array([names.index(str(example.label)) for example in test])
    return Snips([example.text for example in test], gold, words, head)


@dataclass
class Measured:
    """What one engine did: rates by kind, one per turn, and its answers in the first turn."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    texts: list[str] = field(default_factory=list)
    gigabytes: float = 0.0


def asked(teacher: VllmTeacher, requests: list[Request]) -> tuple[list[Reply], float]:
    """Returns the replies and their duration in seconds."""
    began = time.perf_counter()
    replies = teacher.ask(requests)
    seconds = time.perf_counter() - began
    if refused := [reply.error for reply in replies if reply.error]:
        raise SystemExit(refused[0])
    return replies, seconds


def one_turn(teacher: VllmTeacher, data: Snips, turn: int, into: Measured) -> None:
    """Asks an engine for everything once."""

    def note(kind: str, amount: float) -> None:
        into.rates.setdefault(kind, []).append(amount)

    choices = tuple(ids[0] for ids in teacher.tokenize([f" {word}" for word in data.words]))
    replies, seconds = asked(
        teacher,
        [
            GenerateRequest(str(n), f"Turn {turn}. A request of somebody, number {n}:", WRITE)
            for n in range(32)
        ],
    )
    note("decode", sum(reply.completion_tokens for reply in replies) / seconds)
    tail = "the day was long and the night was short and so on " * 10
    replies, seconds = asked(
        teacher,
        [ScoreRequest(str(n), f"Turn {turn}, number {n}: {tail}", choices) for n in range(16)],
    )
    note("prefill", sum(reply.prompt_tokens for reply in replies) / seconds)
    labels, seconds = asked(
        teacher,
        [
            ScoreRequest(str(n), data.prompt(text, turn), choices)
            for n, text in enumerate(data.texts)
        ],
    )
    note("labels", len(labels) / seconds)
    if not turn:
        into.scores = np.array([reply.logprobs for reply in labels])
        greedy, _ = asked(
            teacher,
            [
                GenerateRequest(str(n), f"{data.head}Text: {text[: len(text) // 2]}", GREEDY)
                for n, text in enumerate(data.texts[:24])
            ],
        )
        into.texts = [reply.text for reply in greedy]


def accuracy(scores: np.ndarray, gold: np.ndarray) -> float:
    """Accuracy after batch calibration: each label's mean log-probability is subtracted."""
    shares = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return float(np.mean((shares - shares.mean(axis=0)).argmax(axis=1) == gold))


def measure(model: str, types: list[str], data: Snips, turns: int, lifecycle: Any) -> None:
    """Loads a model in each number type, asks all in turns, and prints a line for each."""
    teachers = {
        name: VllmTeacher(
            model,
            max_model_len=1024,
            kv_cache_gb=0.5,
            start_timeout=600,
            dtype=TYPES[name][0],
            quantization=TYPES[name][1],
            lifecycle=lifecycle,
        )
        for name in types
    }
    found = {name: Measured() for name in types}
    try:
        for turn in range(turns):
            for name, teacher in teachers.items():
                if not turn or lifecycle == "restart":
                    # An engine prepares its kernels at the first request of each size.
                    one_turn(teacher, replace(data, texts=data.texts[:20]), 900 + turn, Measured())
                one_turn(teacher, data, turn, found[name])
                found[name].gigabytes = teacher.hand_over().before / 2**30
    finally:
        for teacher in teachers.values():
            teacher.close()
    base = found["float32"]
    for name, one in found.items():
        rates = "".join(f"{statistics.median(rate):9.1f}" for rate in one.rates.values())
        apart = np.abs(one.scores - base.scores)
        shares = base.scores - np.logaddexp.reduce(base.scores, axis=1, keepdims=True)
        changed = one.scores.argmax(axis=1) != base.scores.argmax(axis=1)
        surest = np.exp(shares.max(axis=1)[changed]).max(initial=0.0)
        equal = np.mean([a == b for a, b in zip(one.texts, base.texts, strict=True)])
        print(
            f"{Path(model).name:20.20} {name:9}{rates}{one.gigabytes:7.2f}"
            f"{100 * accuracy(one.scores, data.gold):10.1f}{100 * np.mean(~changed):10.1f}"
            f"{apart.mean():9.3f}{apart.max():8.2f}{100 * equal:8.1f}{surest:8.2f}",
            flush=True,
        )


def main() -> None:
    """Prints a line per model and number type."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=["embedded", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"],
        help="folders or names of teachers on this machine",
    )
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--lifecycle", default="resident", choices=("resident", "restart"))
    parser.add_argument("--bfloat16-below", type=float, default=1.0, metavar="BILLIONS")
    options = parser.parse_args()
    data = snips(options.texts)
    print(
        f"{'model':20} {'type':9}{'decode':>9}{'prefill':>9}{'labels':>9}{'GB':>7}{'accuracy':>10}"
        f"{'same lab.':>10}{'mean |d|':>9}{'max':>8}{'equal':>8}{'surest':>8}"
    )
    for model in options.models:
        folder = resolve_model(model)
        size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
        # The folders hold two bytes a weight, the embedded model's four.
        types = [
            name for name in TYPES if name != "bfloat16" or size < 2e9 * options.bfloat16_below
        ]
        measure(folder, types, data, options.turns, options.lifecycle)


if __name__ == "__main__":
    main()
