"""Counts what a run was billed and what it really spent, and stops it at its limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tutelage.errors import BudgetExhausted
from tutelage.teacher.base import OnReply, Reply, Request, Teacher
from tutelage.teacher.replies import ask_noting


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and requests so far.

    Attributes:
        billed_prompt: prompt tokens of every successful reply, as if nothing had been cached; comparisons at equal budget use this.
        billed_completion: likewise, completion tokens.
        spent_prompt: prompt tokens of the replies that were really computed, failed ones included.
        spent_completion: likewise, completion tokens.
        requests: replies, of any kind.
        cached: replies for which nothing was sent.
        failed: replies with an error.
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
        """Prompt and completion tokens billed."""
        return self.billed_prompt + self.billed_completion

    @property
    def spent(self) -> int:
        """Prompt and completion tokens really sent."""
        return self.spent_prompt + self.spent_completion

    def plus(self, reply: Reply) -> Usage:
        """This usage with one more reply."""
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
    """Counts every reply of ``inner`` and refuses a batch once the billed tokens have reached ``limit_tokens`` (None: no limit).

    A batch that began is finished, so a run may pass its limit by one batch.
    """

    def __init__(self, inner: Teacher, limit_tokens: int | None = None) -> None:
        """Wrap ``inner``."""
        self._inner = inner
        self._limit = limit_tokens
        self._usage = Usage()

    @property
    def fingerprint(self) -> str:
        """The engine's own."""
        return self._inner.fingerprint

    @property
    def usage(self) -> Usage:
        """What was counted so far; it moves while a batch runs."""
        return self._usage

    @property
    def limit(self) -> int | None:
        """The limit of billed tokens; None for none."""
        return self._limit

    @property
    def left(self) -> int | None:
        """Billed tokens left, at least 0; None without a limit."""
        return None if self._limit is None else max(self._limit - self._usage.billed, 0)

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answer every request, in order.

        Raises:
            BudgetExhausted: the limit was reached before this batch; nothing was sent.
            ValueError: an id occurs twice.
        """
        if requests and self._limit is not None and self._usage.billed >= self._limit:
            raise BudgetExhausted(
                f"{self._usage.billed:,} tokens are billed and the limit is {self._limit:,}; raise budget.tokens to grow further."
            )

        def count(_: Request, reply: Reply) -> None:
            self._usage = self._usage.plus(reply)

        return ask_noting(self._inner, requests, count, on_reply)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, by the engine; costs nothing."""
        return self._inner.tokenize(texts)

    def close(self) -> None:
        """Close the engine."""
        self._inner.close()

    def state_dict(self) -> dict[str, Any]:
        """The usage as plain numbers, for a checkpoint."""
        return asdict(self._usage)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's usage."""
        self._usage = Usage(**state)
