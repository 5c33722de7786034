"""Question: what do accepted texts cost if a chat asks for one, or for several at once?

    python benchmarks/texts_per_request.py [--models qwen2.5-coder-0.5b embedded] [--counts 1 4 8]
        [--sets snips] [--data ../data] [--show] [-- teacher.quantization=int8]

One round of EvoKD, half hard and half easy texts, as if the student had every second of 40 dev
texts wrong. Printed for each teacher, set and ``method.texts_per_request``: tokens of the requests
for texts, by text and by accepted text, the share accepted, distinct texts, and distinct pairs of
neighbouring words by all pairs (variety). ``--show`` prints the texts with their reasons. Replies
are cached in ``--folder``, so an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from data_sets import CLASSES, ENTITIES, overrides_of

from tutelage.config.build import build_dataset, build_task
from tutelage.config.build_fit import gold_for, method_context
from tutelage.config.build_method import build_method
from tutelage.config.build_teacher import begin_teacher, build_stack
from tutelage.config.compose import compose_config
from tutelage.data.pool import Pool
from tutelage.records import Example, Feedback, Growth, Outcome
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import GenerateRequest, OnReply, Prompt, Reply, Request, Teacher

_KNOWN = 40
"""Dev texts that stand for a student's outcomes."""


class Counting:
    """Counts the tokens of requests to write, analyse or label.

    Args:
        inner: The teacher to ask.

    Attributes:
        tokens: Billed tokens by kind of request.
        requests: Their number.
        completions: Tokens of the replies to requests for texts.
    """

    def __init__(self, inner: Teacher) -> None:
        self._inner = inner
        self.tokens: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.completions = 0

    @property
    def fingerprint(self) -> str:
        """The engine's."""
        return self._inner.fingerprint

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Asks, and counts the replies."""
        replies = self._inner.ask(requests, on_reply)
        for request, reply in zip(requests, replies, strict=True):
            kind = "labels"
            if isinstance(request, GenerateRequest) and not request.id.startswith("extract"):
                kind = "texts" if request.id.isdigit() else "others"
            self.tokens[kind] += reply.tokens
            self.requests[kind] += 1
            self.completions += reply.completion_tokens if kind == "texts" else 0
        return replies

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """The engine's token ids."""
        return self._inner.tokenize(texts)

    def close(self) -> None:
        """Leaves the engine to its owner."""


def outcomes(dev: Sequence[Example], task: Task) -> list[Outcome]:
    """The first dev texts, every second one wrong."""
    known = [(one, one.label or task.empty_target) for one in dev[:_KNOWN]]
    found = []
    for number, (one, target) in enumerate(known):
        others = [other for _, other in known[number:] + known if other != target]
        wrong = task.empty_target or others[0]
        predicted = wrong if number % 2 else target
        found.append(Outcome(one.id, one.text, target, predicted, (1.0,), "dev", 0))
    return found


def one_round(overrides: Sequence[str]) -> tuple[Growth, Counting, float]:
    """Lets a method grow by one round; returns the growth, the counts and the seconds."""
    config = compose_config(overrides)
    dataset = build_dataset(config)
    task, method = build_task(config, dataset), build_method(config)
    with tempfile.TemporaryDirectory() as folder:
        stack = build_stack(config, Path(folder))
        try:
            begin_teacher(method, stack, print)
            counting = Counting(stack.teacher)
            context = method_context(
                config,
                dataset,
                task,
                Pool.open(Path(folder) / "rows.jsonl"),
                gold_for(config, dataset),
                counting,
                on_phase=lambda *_: None,
                on_reply=lambda *_: None,
                view_pool=_no_student,
                predict=_no_student,
            )
            method.setup(context)
            known = outcomes(dataset.dev, task)
            scores = task.scores(known)
            began = time.perf_counter()
            growth = method.next_rows(Feedback(0, tuple(known), scores, scores), 1)
            return growth, counting, time.perf_counter() - began
        finally:
            stack.close()


def _no_student(*_: object) -> Any:
    raise RuntimeError("this benchmark has no student")


def variety(texts: Sequence[str]) -> float:
    """Distinct pairs of neighbouring words by all pairs, in [0, 1]."""
    pairs = [pair for text in texts for pair in pairwise(text.lower().split())]
    return len(set(pairs)) / max(1, len(pairs))


def line(growth: Growth, counts: Counting, seconds: float) -> str:
    """The measures of one round."""
    rows = growth.rows
    accepted = [row for row in rows if row.accepted]
    texts = {row.text for row in rows if row.text}
    return (
        f"{counts.requests['texts']:4d} requests  {counts.tokens['texts'] / len(rows):6.1f} tokens "
        f"a text  {counts.tokens['texts'] / max(1, len(accepted)):6.1f} an accepted one "
        f"({counts.completions / len(rows):5.1f} written a text)  accepted "
        f"{100 * len(accepted) / len(rows):5.1f} %  distinct {len(texts):3d} of {len(rows):3d}  "
        f"variety {variety([row.text for row in accepted]):4.2f}  {seconds:5.0f} s"
    )


def main() -> None:
    """Prints a line per teacher, set and number of texts a request."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["qwen2.5-coder-0.5b", "embedded"])
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--sets", nargs="+", default=["snips"], choices=(*CLASSES, *ENTITIES))
    parser.add_argument("--data", type=Path, default=Path("../data"))
    parser.add_argument("--texts", type=int, default=56)
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench-texts"))
    parser.add_argument("--show", action="store_true")
    parser.add_argument("overrides", nargs="*", help="of every measurement")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for model in options.models:
        for dataset in options.sets:
            for count in options.counts:
                given = [
                    *overrides_of(dataset, options.data, options.folder / "data"),
                    "prompt=chat",
                    f"teacher.model={model}",
                    f"teacher.cache={options.folder}/replies.sqlite",
                    f"method.texts_per_request={count}",
                    f"method.n_hard={options.texts // 2}",
                    f"method.n_easy={options.texts // 2}",
                    *options.overrides,
                ]
                growth, counts, seconds = one_round(given)
                print(
                    f"{model} {dataset} {count} a request",
                    line(growth, counts, seconds),
                    flush=True,
                )
                if options.show:
                    print(f"  analysis: {growth.analysis}")
                    for row in growth.rows:
                        fate = row.target if row.accepted else f"- {row.reason}"
                        print(f"  {row.source} {row.asked}: {row.text!r}  [{fate}]", flush=True)


if __name__ == "__main__":
    main()
