"""Estimates the cost of a recipe without asking the teacher."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.advise.case import Case
from tutelage.config.build_method import build_method
from tutelage.config.build_teacher import settle_prompts
from tutelage.config.compose import compose_config
from tutelage.config.schema import RunConfig
from tutelage.measurements import Recipe, Study
from tutelage.methods.base import Plannable, TeacherMethod
from tutelage.plan import context_without_student
from tutelage.records import evenly
from tutelage.teacher.base import GenerateRequest, Request
from tutelage.teacher.stack import Stack
from tutelage.teacher.wrappers.routing import others_of

_SAMPLED = 16
"""Requests of each kind whose prompts are counted."""


@dataclass(frozen=True, slots=True)
class Price:
    """The estimated cost of a run.

    Attributes:
        tokens: Billed tokens.
        labels: Number of texts that the teacher labels, of a pool; 0 where it writes them.
        requests: Number of teacher requests.
        label_tokens: Billed tokens per labelled text, of a pool.
    """

    tokens: int
    labels: int
    requests: int
    label_tokens: float = 0.0


class Prices:
    """The price of each recipe for one case, estimated once.

    Attributes:
        case: The case.
        study: The study whose recipes and settings are priced.
    """

    def __init__(self, case: Case, study: Study) -> None:
        self.case = case
        self.study = study
        self._known: dict[str, Price] = {}

    def of(self, recipe: Recipe) -> Price:
        """Returns the price of a recipe; the case's teacher must be one that can be asked."""
        if recipe.key not in self._known:
            settings = settings_of(self.study, recipe, self.case.overrides)
            self._known[recipe.key] = price(self.case, settings)
        return self._known[recipe.key]

    def covers(self, recipe: Recipe) -> bool:
        """Returns whether budget.tokens is enough for a recipe."""
        limit = self.case.config.budget.tokens
        if limit is None or not recipe.asks_teacher:
            return True
        if self.case.stack is None:
            return "pool" not in recipe.needs or self.study.price(recipe.key) <= limit
        cost = self.of(recipe)
        # A run that writes ends with its budget, so one round is enough.
        return cost.tokens <= limit if cost.labels else cost.requests > 0


def price(case: Case, settings: Sequence[str]) -> Price:
    """Estimates the cost of a run from the prompts that it would send, without asking any.

    A text that is written counts with as many tokens as it may have at most.

    Args:
        case: The case, whose teacher can be asked.
        settings: Overrides of the run besides the user's.
    """
    assert case.stack is not None
    config = compose_config([*settings, *case.overrides])
    method = build_method(config)
    if not (isinstance(method, Plannable) and method.asks_teacher):
        return Price(0, 0, 0)
    if isinstance(method, TeacherMethod):
        settle_prompts(method.prompts, case.stack.engine, case.stack.inner)
    method.setup(context_without_student(config, case.dataset, case.stack, case.folder))
    before = method.preparation() if isinstance(method, TeacherMethod) else {}
    asked_once = sum(map(len, before.values()))
    once = sum(
        statistics.mean(_tokens(case.stack, evenly(own, _SAMPLED))) * len(own)
        for own in before.values()
    )
    tokens = {
        kind: statistics.mean(_tokens(case.stack, requests))
        for kind, requests in method.sample_requests(_SAMPLED).items()
    }
    counts = {kind: count for kind, count in method.requests_a_round().items() if kind in tokens}
    total = sum(tokens[kind] * count for kind, count in counts.items())
    rounds = method.rounds or 1
    if "first" not in config.method.settings:
        # The budget ends a run that writes before its last round.
        limit = config.budget.tokens
        if limit is not None:
            rounds = min(rounds, int(max(limit - once, 0) // max(total, 1)))
        requests = sum(counts.values()) * rounds + asked_once
        return Price(round(total * rounds + once), 0, requests)
    largest, labels = _pool_labels(config, len(case.dataset.pool))
    share = labels / max(largest, 1)
    return Price(
        round(total * share + once),
        labels,
        round(sum(counts.values()) * share) + asked_once,
        total / max(largest, 1),
    )


def _tokens(stack: Stack, requests: Sequence[Request]) -> list[int]:
    """Returns the billed tokens of each request: a score is one completion token."""
    others = others_of(stack.inner)
    prompts = [
        (others[one.teacher].teacher if one.teacher else stack.inner).tokenize([one.prompt])[0]
        for one in requests
    ]
    return [
        len(prompt) + (request.granted.max_tokens if isinstance(request, GenerateRequest) else 1)
        for prompt, request in zip(prompts, requests, strict=True)
    ]


def _pool_labels(config: RunConfig, pool: int) -> tuple[int, int]:
    """Returns the pool texts labelled in the largest round, and in the whole run."""
    get = config.method.get
    texts = min(pool, get("pool_size") or pool)
    first = texts if get("first") is None else min(texts, int(get("first")))
    later = int(get("n_texts") or 0) if get("rounds") else 0
    return max(first, later), min(texts, first + later * int(get("rounds") or 0))


def settings_of(study: Study, recipe: Recipe, overrides: Sequence[str]) -> list[str]:
    """Returns the overrides of a recipe as it was measured, where the user gives no other value."""
    given = {one.partition("=")[0] for one in overrides}
    return [
        one
        for one in (*recipe.overrides, *study.settings.get(recipe.key, ()))
        if one.partition("=")[0] not in given
    ]
