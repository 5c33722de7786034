"""Claim: five words around a mention tell the teacher as much in a demonstration as its whole sentence, for two thirds of the tokens.

    python benchmarks/verify_window.py [--sets wikigold] [--seeds 1 2] [--shown 0 5] [--sentences 80] [--data ../data] [teacher.model=embedded]
    python benchmarks/verify_window.py --shots 5 --per-type 1 3 5 --shown 5      the same of how many demonstrations of each type are shown

The teacher alone marks the first dev sentences by *verify*, with the shots of each seed as demonstrations, once for each
``labelling.shown_words`` and ``labelling.shown_per_type``; strict entity F1 and billed tokens. ``--data`` holds conll2004/ and wnut17/ for
``--sets conll04 wnut17``; Wikigold is in the package.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from itertools import product
from pathlib import Path
from typing import NamedTuple

from ner_arms import overrides_of

from tutelage.config.build import build, build_dataset, build_labeller, build_stack
from tutelage.config.compose import compose_config
from tutelage.labelling.base import Draft
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.records import Outcome


class Measured(NamedTuple):
    """What the teacher alone does: the task's first metric (accuracy, or strict entity F1) where a rejected text counts as one without
    entities, the same of the texts that were not rejected, the billed tokens, why texts were rejected, and how many texts there were."""

    score: float
    of_kept: float
    tokens: int
    reasons: tuple[str, ...]
    texts: int


def measured(overrides: list[str], texts: int, folder: Path) -> Measured:
    """The teacher alone on the first dev texts."""
    config = compose_config(overrides)
    dataset = build_dataset(config)
    task = build(config.task, "task", labels=dataset.labels)
    stack = build_stack(config, folder)
    try:
        shots = ordered_demonstrations(dataset.shots(config.shots, config.seed), config.seed)
        labeller = build_labeller(
            config, build(config.prompt, "prompt"), task, stack.teacher, shots
        )
        labeller.fit(dataset.dev)
        dev = dataset.dev[:texts]
        labelled = labeller.label([Draft(example.text) for example in dev])
        outcomes = [
            Outcome(
                example.id,
                example.text,
                example.label or "[]",
                opinion.target(opinion.distribution.top) if opinion else "[]",
                (1.0,),
                "dev",
                0,
            )
            for example, opinion in zip(dev, labelled.opinions, strict=True)
        ]
        kept = [outcome for index, outcome in enumerate(outcomes) if index not in labelled.errors]
        score, of_kept = (
            float(task.metrics(some)[task.headline_metrics[0].key]) if some else 0.0
            for some in (outcomes, kept)
        )
        return Measured(
            score, of_kept, stack.budget.usage.billed, tuple(labelled.errors.values()), len(dev)
        )
    finally:
        stack.close()


def main() -> None:
    """Measure, print a line each, and the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sets", nargs="+", default=["wikigold"], choices=("wikigold", "conll04", "wnut17")
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shown", nargs="+", type=int, default=[0, 5])
    parser.add_argument("--per-type", nargs="+", type=int, default=[1])
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--sentences", type=int, default=80)
    parser.add_argument("--data", type=Path, default=Path("../data"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, int]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for dataset, seed in product(options.sets, options.seeds):
            for shown, each in product(options.shown, options.per_type):
                given = [
                    f"seed={seed}",
                    f"shots={options.shots}",
                    f"labelling.shown_words={shown}",
                    f"labelling.shown_per_type={each}",
                ]
                one = measured(
                    [*overrides_of(dataset, options.data), *given, *options.overrides],
                    options.sentences,
                    Path(folder),
                )
                variant = f"shown_words {shown}  per type {each}"
                found.setdefault(variant, []).append((one.score, one.tokens))
                print(
                    f"{dataset:9s} seed {seed}  {variant}  F1 {100 * one.score:5.1f}  {one.tokens:9,} tokens",
                    flush=True,
                )
    for variant, pairs in found.items():
        f1, tokens = statistics.mean(f1 for f1, _ in pairs), sum(tokens for _, tokens in pairs)
        print(f"mean              {variant}  F1 {100 * f1:5.1f}  {tokens:9,} tokens in all")


if __name__ == "__main__":
    main()
