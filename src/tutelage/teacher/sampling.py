"""Token-by-token sampling of one continuation from a model's logits."""

from __future__ import annotations

from typing import Any

from tutelage.teacher import structured
from tutelage.teacher.base import GenerateRequest, Reply, Sampling
from tutelage.teacher.marks import stopped


class Continuation:
    """One continuation as it grows, sampled with a random generator of its own.

    Args:
        request: The request to answer; its seed initialises the generator.
        prompt_tokens: Length of the prompt, in tokens.
        tokenizer: Decodes the sampled tokens.
        ends: Ids of the end-of-text tokens.
        limit: Context length of the model, in tokens (prompt and continuation together).

    Attributes:
        finish: "stop" or "length" once the continuation has ended, "" before.
    """

    def __init__(
        self,
        request: GenerateRequest,
        prompt_tokens: int,
        tokenizer: Any,
        ends: frozenset[int],
        limit: int,
    ) -> None:
        import torch

        self._request = request
        self._prompt_tokens = prompt_tokens
        self._tokenizer = tokenizer
        self._ends = ends
        self._sampling = request.granted
        self._room = min(self._sampling.max_tokens, limit - prompt_tokens)
        self._random = torch.Generator().manual_seed(request.seed & (2**63 - 1))
        self._tokens: list[int] = []
        self._text = ""
        self.finish = ""

    def step(self, logits: Any) -> int:
        """Samples the next token.

        Args:
            logits: One row of logits, shape [vocabulary].

        Returns:
            The id of the next token; 0 once the continuation has ended.
        """
        if self.finish:
            return 0
        token = _sample(logits, self._sampling, self._random)
        self._tokens.append(token)
        if token in self._ends:
            self.finish = "stop"
            return token
        # The whole text is decoded again: a token may complete a character begun by the last one.
        self._text = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        # The earliest stop string ends the text, and is cut off with everything after it.
        found = [index for stop in self._sampling.stop if (index := self._text.find(stop)) >= 0]
        if found:
            self._text = self._text[: min(found)]
            self.finish = "stop"
        elif len(self._tokens) >= self._room:
            self.finish = "length"
        return token

    def reply(self) -> Reply:
        """Returns the reply, with an error if it does not fit the request's JSON schema."""
        text, error = self._text, ""
        if self._sampling != self._request.sampling:
            text = stopped(text, self._request.sampling.stop)
        if self._request.json_schema:
            text, mismatch = structured.completed(text, self.finish, self._request.json_schema)
            if mismatch:
                error = (
                    f"the reply {mismatch}; teacher=local does not enforce a schema while it "
                    "writes, teacher=vllm does"
                )
        return Reply(
            self._request.id,
            text=text,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=len(self._tokens),
            finish_reason=self.finish,
            error=error,
        )


def _sample(logits: Any, sampling: Sampling, generator: Any) -> int:
    """Samples a token id from logits [vocabulary] by inverting the cumulative distribution."""
    import torch

    # Temperature 0 is greedy. Everything else is computed in double precision, in a stable order.
    if sampling.temperature <= 1e-5:
        return int(logits.argmax())
    probabilities, order = torch.softmax(logits.double() / sampling.temperature, dim=-1).sort(
        descending=True, stable=True
    )
    if sampling.top_k > 0:
        probabilities = probabilities[: sampling.top_k]
    total = probabilities.cumsum(0)
    if sampling.top_p < 1.0:
        # The nucleus: the fewest tokens (among the top k) whose share reaches top_p.
        kept = int((total / total[-1] < sampling.top_p).sum()) + 1
        total = total[:kept]
    point = torch.rand(1, generator=generator, dtype=torch.float64) * total[-1]
    return int(order[min(int(torch.searchsorted(total, point)), len(total) - 1)])
