"""Counts a run's billed and spent tokens, and stops the run at its limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tutelage.errors import BudgetExhausted
from tutelage.teacher.base import OnReply, Prompt, Reply, Request, Teacher
from tutelage.teacher.replies import ask_noting
from tutelage.teacher.wrappers.routing import Layers, others_of


@dataclass(frozen=True, slots=True)
class Usage:
    """Number of tokens and requests so far.

    Billed tokens ignore the cache and are used for comparisons at equal budget. Spent tokens were
    actually computed.

    Attributes:
        billed_prompt: Prompt tokens of all successful replies, cached or not.
        billed_completion: Completion tokens of all successful replies, cached or not.
        spent_prompt: Prompt tokens of all computed replies, including failed ones.
        spent_completion: Completion tokens of all computed replies, including failed ones.
        requests: All replies.
        cached: Replies from the cache.
        failed: Replies with an error.
    """

    billed_prompt: int = 0
    billed_completion: int = 0
    spent_prompt: int = 0
    spent_completion: int = 0
    requests: int = 0
    cached: int = 0
    failed: int = 0

    @property
    def billed(self) -> int:
        """Billed prompt and completion tokens."""
        return self.billed_prompt + self.billed_completion

    @property
    def spent(self) -> int:
        """Spent prompt and completion tokens."""
        return self.spent_prompt + self.spent_completion

    def plus(self, reply: Reply) -> Usage:
        """Returns this usage with one more reply counted."""
        billed, spent = not reply.error, not reply.cached
        return replace(
            self,
            billed_prompt=self.billed_prompt + reply.prompt_tokens * billed,
            billed_completion=self.billed_completion + reply.completion_tokens * billed,
            spent_prompt=self.spent_prompt + reply.prompt_tokens * spent,
            spent_completion=self.spent_completion + reply.completion_tokens * spent,
            requests=self.requests + 1,
            cached=self.cached + reply.cached,
            failed=self.failed + bool(reply.error),
        )


class BudgetedTeacher:
    """Counts every reply, and refuses further batches once the limit of billed tokens is reached.

    A batch is never cut short, so a run can exceed its limit by one batch.

    Args:
        inner: The teacher to ask.
        limit_tokens: Limit of billed tokens; None for no limit.
    """

    def __init__(self, inner: Teacher, limit_tokens: int | None = None) -> None:
        self._inner = inner
        self._limit = limit_tokens
        self._usage = Usage()

    @property
    def fingerprint(self) -> str:
        """The engine's fingerprint."""
        return self._inner.fingerprint

    @property
    def others(self) -> Mapping[str, Layers]:
        """The further teachers behind this layer, by name."""
        return others_of(self._inner)

    @property
    def usage(self) -> Usage:
        """Usage so far, updated while a batch runs."""
        return self._usage

    @property
    def limit(self) -> int | None:
        """Limit of billed tokens; None for no limit."""
        return self._limit

    @property
    def left(self) -> int | None:
        """Billed tokens left before the limit, at least 0; None for no limit."""
        return None if self._limit is None else max(self._limit - self._usage.billed, 0)

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order.

        Raises:
            BudgetExhausted: The limit was reached before this batch. Nothing was sent.
            ValueError: An id occurs twice.
        """
        # Checked before a batch only: a batch cut short would depend on the order of its replies.
        if requests and self._limit is not None and self._usage.billed >= self._limit:
            raise BudgetExhausted(
                f"{self._usage.billed:,} tokens are billed and the limit is {self._limit:,}; raise "
                "budget.tokens to grow further."
            )

        def count(_: Request, reply: Reply) -> None:
            self._usage = self._usage.plus(reply)

        return ask_noting(self._inner, requests, count, on_reply)

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the engine's token ids of each text, free of charge."""
        return self._inner.tokenize(texts)

    def close(self) -> None:
        """Closes the engine."""
        self._inner.close()

    def state_dict(self) -> dict[str, Any]:
        """Returns the usage as plain numbers, for a checkpoint."""
        return asdict(self._usage)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the usage of a checkpoint."""
        self._usage = Usage(**state)
