"""What a run will ask and cost, before it is run: the real prompts, their tokens, and a few of them timed on the real engine."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tutelage.config.build import build_dataset, build_method, build_stack, build_task
from tutelage.config.schema import BudgetConfig, RunConfig
from tutelage.data.pool import Pool
from tutelage.errors import ConfigError
from tutelage.methods.base import Plannable
from tutelage.training import gold_for, method_context

_TIMED = 16
"""Requests of each kind that are timed."""


def _not_looked(*_: object) -> Any:
    raise ConfigError("A plan trains no student, so it cannot ask one.")


def plan(config: RunConfig) -> int:
    """Print prompts, requests, tokens and seconds for one run of ``config``; returns the exit code.

    The timed requests go through the run's own cache, so the run does not pay for them again.

    Raises:
        ConfigError: the method asks no teacher, or the budget is smaller than one round.
    """
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    method = build_method(config)
    if not (isinstance(method, Plannable) and method.asks_teacher):
        raise ConfigError(
            f"method={config.method_name} asks no teacher, so there is nothing to plan."
        )
    dataset = build_dataset(config)
    task = build_task(config, dataset)
    timed = replace(config, budget=BudgetConfig(None))
    with tempfile.TemporaryDirectory() as scratch:
        stack = build_stack(timed, Path(scratch))
        try:
            pool = Pool.open(Path(scratch) / "rows.jsonl")
            shots = gold_for(config, dataset)
            method.setup(
                method_context(
                    config,
                    dataset,
                    task,
                    pool,
                    shots,
                    stack.teacher,
                    lambda *_: None,
                    lambda *_: None,
                    _not_looked,
                )
            )
            sample = method.sample_requests(_TIMED)
            if not sample:
                raise ConfigError(
                    "None of the texts gives a request: nothing in them could be a name. Where names are written in small letters, or in a "
                    "script without capitals, give labelling.candidates=[chunks] (or [ngrams])."
                )
            costs: dict[str, Any] = {}
            for kind, requests in sample.items():
                console.rule(kind)
                console.print(escape(requests[0].prompt), highlight=False, soft_wrap=True)
                before, began = stack.budget.usage, time.perf_counter()
                stack.teacher.ask(requests[:1])
                started = time.perf_counter() - began
                began = time.perf_counter()
                replies = stack.teacher.ask(requests[1:])
                seconds = (time.perf_counter() - began) / max(1, len(replies))
                cached = stack.budget.usage.cached - before.cached
                tokens = (stack.budget.usage.billed - before.billed) / len(requests)
                costs[kind] = (tokens, seconds)
                note = (
                    f", {cached} of them from the cache, so the time is too low" if cached else ""
                )
                console.print(
                    f"\n[dim]{tokens:.0f} tokens a request, {seconds:.2f} s each over {len(requests)}{note}; the first took {started:.1f} s[/dim]"
                )
        finally:
            stack.close()
    counts = {kind: count for kind, count in method.requests_a_round().items() if kind in costs}
    tokens = sum(costs[kind][0] * count for kind, count in counts.items())
    seconds = sum(costs[kind][1] * count for kind, count in counts.items())
    limit = config.budget.tokens
    whole = (
        method.rounds or 1
    )  # without rounds everything is asked at once, before the student begins
    rounds = whole if limit is None else min(whole, int(limit // max(tokens, 1)))
    console.rule("one round")
    console.print(
        "requests  " + ", ".join(f"{count} {kind}" for kind, count in counts.items()),
        highlight=False,
    )
    console.print(
        f"cost      about {tokens:,.0f} billed tokens, {seconds:.0f} s of teacher time",
        highlight=False,
    )
    console.rule("the run")
    console.print(f"{rounds} rounds: about {tokens * rounds:,.0f} billed tokens, {seconds * rounds / 60:.1f} min of teacher time, "
                  f"and {len(shots)} gold labels", highlight=False)  # fmt: skip
    if limit is not None and tokens > limit:
        raise ConfigError(
            f"budget.tokens={limit:,} is smaller than one round (about {tokens:,.0f}). Raise it, or ask for fewer texts a round."
        )
    return 0
