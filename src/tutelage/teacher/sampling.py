"""Drawing one continuation, token by token, from a model's logits."""

from __future__ import annotations

from typing import Any

from tutelage.teacher import structured
from tutelage.teacher.base import GenerateRequest, Reply, Sampling


class Draw:
    """One continuation as it grows, drawn with a generator of its own."""

    def __init__(
        self,
        request: GenerateRequest,
        prompt_tokens: int,
        tokenizer: Any,
        ends: frozenset[int],
        limit: int,
    ) -> None:
        """Begin after a prompt of ``prompt_tokens``; ``ends`` are the end tokens, ``limit`` is the context length."""
        import torch

        self._request = request
        self._prompt_tokens = prompt_tokens
        self._tokenizer = tokenizer
        self._ends = ends
        self._room = min(request.sampling.max_tokens, limit - prompt_tokens)
        self._random = torch.Generator().manual_seed(request.seed & (2**63 - 1))
        self._tokens: list[int] = []
        self._text = ""
        self.finish = ""

    def step(self, logits: Any) -> int:
        """Take one row of logits [vocabulary] and return the next token; anything once finished."""
        if self.finish:
            return 0
        token = _sample(logits, self._request.sampling, self._random)
        self._tokens.append(token)
        if token in self._ends:
            self.finish = "stop"
            return token
        self._text = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        found = [
            index for stop in self._request.sampling.stop if (index := self._text.find(stop)) >= 0
        ]
        if found:
            self._text = self._text[: min(found)]
            self.finish = "stop"
        elif len(self._tokens) >= self._room:
            self.finish = "length"
        return token

    def reply(self) -> Reply:
        """The finished reply."""
        error = ""
        if self._request.json_schema:
            try:
                structured.validate(self._text, self._request.json_schema)
            except ValueError as wrong:
                error = f"the reply {wrong}; teacher=local does not enforce a schema while it writes, teacher=vllm does"
        return Reply(
            self._request.id,
            text=self._text,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=len(self._tokens),
            finish_reason=self.finish,
            error=error,
        )


def _sample(logits: Any, sampling: Sampling, generator: Any) -> int:
    """Draw one token id from logits [vocabulary], by the inverse of the cumulative distribution."""
    import torch

    if sampling.temperature <= 1e-5:
        return int(logits.argmax())
    probabilities, order = torch.softmax(logits.double() / sampling.temperature, dim=-1).sort(
        descending=True, stable=True
    )
    if sampling.top_k > 0:
        probabilities = probabilities[: sampling.top_k]
    total = probabilities.cumsum(0)
    if sampling.top_p < 1.0:
        # As few tokens as reach top_p together; of what top_k left.
        kept = int((total / total[-1] < sampling.top_p).sum()) + 1
        total = total[:kept]
    point = torch.rand(1, generator=generator, dtype=torch.float64) * total[-1]
    return int(order[min(int(torch.searchsorted(total, point)), len(total) - 1)])
