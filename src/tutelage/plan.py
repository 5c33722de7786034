"""What a run will ask and cost, before it runs.

It shows the real prompts and their tokens, and times a few requests on the real engine.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.config.build import build_dataset, build_task
from tutelage.config.build_fit import gold_for, method_context
from tutelage.config.build_method import build_method
from tutelage.config.build_teacher import begin_teacher, build_stack
from tutelage.config.schema import BudgetConfig, RunConfig
from tutelage.data.dataset import Dataset
from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, TeacherError
from tutelage.methods.base import MethodContext, Plannable, TeacherMethod, fewer_texts
from tutelage.records import evenly
from tutelage.teacher.base import Reply, Request
from tutelage.teacher.stack import Stack

if TYPE_CHECKING:
    from rich.console import Console

_TIMED = 16
"""Requests of each kind that are timed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request of a kind costs on average: billed tokens, and seconds of teacher time."""

    tokens: float
    seconds: float


def plan(config: RunConfig) -> int:
    """Prints prompts, requests, tokens and seconds of one run.

    The timed requests go through the run's own cache, so the run does not pay for them again.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: the method asks no teacher, or the budget is smaller than one round.
        TeacherError: every request of a kind failed.
    """
    from rich.console import Console

    console = Console()
    method = build_method(config)
    if not (isinstance(method, Plannable) and method.asks_teacher):
        raise ConfigError(
            f"method={config.method_name} asks no teacher, so there is nothing to plan."
        )
    dataset = build_dataset(config)
    shots = gold_for(config, dataset)
    with tempfile.TemporaryDirectory() as scratch:
        # The budget is the run's, not the plan's.
        stack = build_stack(replace(config, budget=BudgetConfig(None)), Path(scratch))
        try:
            begin_teacher(method, stack, partial(_warn, console))
            method.setup(context_without_student(config, dataset, stack, Path(scratch)))
            for note in getattr(method, "notes", ()):
                console.print(note, highlight=False, soft_wrap=True)
            before = method.preparation() if isinstance(method, TeacherMethod) else {}
            sample = {kind: evenly(own, _TIMED) for kind, own in before.items()}
            sample.update(method.sample_requests(_TIMED))
            costs, failures = _measure(sample, stack, console)
        finally:
            stack.close()
    counts = {kind: count for kind, count in method.requests_a_round().items() if kind in costs}
    tokens, seconds = _total(costs, counts)
    once = {kind: len(own) for kind, own in before.items() if kind in costs}
    once_tokens, once_seconds = _total(costs, once)
    # Without rounds everything is asked at once, before the student begins.
    rounds, limit = method.rounds or 1, config.budget.tokens
    if limit is not None:
        rounds = min(rounds, int(max(limit - once_tokens, 0) // max(tokens, 1)))
    if once:
        console.rule("before the first label")
        _print_cost(console, once, once_tokens, once_seconds)
    console.rule("one round")
    _print_cost(console, counts, tokens, seconds)
    console.rule("the run")
    console.print(
        f"{rounds} rounds: about {tokens * rounds + once_tokens:,.0f} billed tokens, "
        f"{(seconds * rounds + once_seconds) / 60:.1f} min of teacher time, and {len(shots)} gold "
        "labels",
        highlight=False,
    )
    for failure in failures.values():
        _warn(console, failure)
    if limit is not None and tokens + once_tokens > limit:
        raise ConfigError(
            f"budget.tokens={limit:,} is smaller than one round (about "
            f"{tokens + once_tokens:,.0f}). Raise it, or {fewer_texts(method)}."
        )
    return 0


def context_without_student(
    config: RunConfig, dataset: Dataset, stack: Stack, folder: Path
) -> MethodContext:
    """Returns the parts of a run from which a method can tell its requests.

    Args:
        config: The configuration.
        dataset: The data.
        stack: The teacher.
        folder: An existing folder for the run's rows.
    """
    return method_context(
        config,
        dataset,
        build_task(config, dataset),
        Pool.open(folder / "rows.jsonl"),
        gold_for(config, dataset),
        stack.teacher,
        on_phase=lambda *_: None,
        on_reply=lambda *_: None,
        view_pool=_no_student,
        predict=_no_student,
    )


def _warn(console: Console, message: str) -> None:
    from rich.markup import escape

    console.print(f"[yellow]warning[/]   {escape(message)}", highlight=False, soft_wrap=True)


def _no_student(*_: object) -> Any:
    raise ConfigError("A plan trains no student, so it cannot ask one.")


def _measure(
    sample: Mapping[str, Sequence[Request]], stack: Stack, console: Console
) -> tuple[dict[str, Cost], dict[str, str]]:
    """Sends the sampled requests and prints the first prompt of each kind with its cost.

    Returns:
        The cost of each kind, and what went wrong in the kinds where some requests failed.
    """
    from rich.markup import escape

    if not sample:
        raise ConfigError(
            "None of the texts gives a request: nothing in them could be a name. Where names are "
            "written in small letters, or in a script without capitals, give "
            "labelling.candidates=[chunks] (or [ngrams])."
        )
    costs: dict[str, Cost] = {}
    failures: dict[str, str] = {}
    for kind, requests in sample.items():
        console.rule(kind)
        console.print(escape(str(requests[0].prompt)), highlight=False, soft_wrap=True)
        before = stack.budget.usage
        by_teacher: dict[str, list[Request]] = {}
        for request in requests:
            by_teacher.setdefault(request.teacher, []).append(request)
        asked = [_ask(own, stack) for own in by_teacher.values()]
        replies = [reply for one in asked for reply in one.replies]
        started = sum(one.started for one in asked)
        seconds = sum(one.seconds for one in asked) / max(1, sum(one.timed for one in asked))
        # A failed request costs nothing, so it says nothing of what the others cost.
        errors = [reply.error for reply in replies if reply.error]
        console.print()
        for error, count in Counter(errors).items():
            refused = f"refused: {count} of {len(replies)}: {error}"
            console.print(escape(refused), highlight=False, soft_wrap=True)
        if errors:
            failures[kind] = f"{len(errors)} of {len(replies)} {kind} requests failed: {errors[0]}"
        if len(errors) == len(replies):
            # A kind with a single request may fail for its prompt alone.
            if len(replies) > 1 or len(sample) == 1:
                raise TeacherError(
                    f"All {len(replies)} {kind} requests of this plan failed; the first says: "
                    f"{errors[0]}"
                )
            continue
        answered = [reply for reply in replies if not reply.error]
        costs[kind] = Cost((stack.budget.usage.billed - before.billed) / len(answered), seconds)
        cached = stack.budget.usage.cached - before.cached
        note = f", {cached} of them from the cache, so the time is too low" if cached else ""
        console.print(
            f"[dim]{costs[kind].tokens:.0f} tokens per request "
            f"({sum(reply.prompt_tokens for reply in answered) / len(answered):.0f} of them in the "
            f"prompt), {seconds:.2f} s each over {len(requests)}{note}; the first took "
            f"{started:.1f} s[/dim]"
        )
    return costs, failures


@dataclass(frozen=True, slots=True)
class _Asked:
    """The replies of one teacher, and how long they took.

    Attributes:
        replies: The replies.
        started: Seconds of the first reply outside the cache.
        seconds: Seconds of the replies after it.
        timed: Number of these.
    """

    replies: list[Reply]
    started: float
    seconds: float
    timed: int


def _ask(requests: Sequence[Request], stack: Stack) -> _Asked:
    """Sends requests to one teacher."""
    # The first request outside the cache starts the engine, so it is timed apart.
    replies: list[Reply] = []
    started = 0.0
    for request in requests:
        cached, began = stack.budget.usage.cached, time.perf_counter()
        replies += stack.teacher.ask([request])
        started = time.perf_counter() - began
        if stack.budget.usage.cached == cached:
            break
    began, left = time.perf_counter(), requests[len(replies) :]
    replies += stack.teacher.ask(left)
    return _Asked(replies, started, time.perf_counter() - began, len(left))


def _total(costs: Mapping[str, Cost], counts: Mapping[str, int]) -> tuple[float, float]:
    """Returns the billed tokens and the seconds of some requests by kind."""
    return (
        sum(costs[kind].tokens * count for kind, count in counts.items()),
        sum(costs[kind].seconds * count for kind, count in counts.items()),
    )


def _print_cost(console: Console, counts: Mapping[str, int], tokens: float, seconds: float) -> None:
    requests = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    console.print(f"requests  {requests}", highlight=False)
    console.print(
        f"cost      about {tokens:,.0f} billed tokens, {seconds:.0f} s of teacher time",
        highlight=False,
    )
