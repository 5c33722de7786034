"""Bodies of requests to an OpenAI-compatible server, in forms that strict servers accept, too."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from tutelage.teacher.base import GenerateRequest, Sampling
from tutelage.teacher.structured import read_schema, server_fields

COMPLETIONS = "/v1/completions"
SCHEMAS: dict[str, Callable[[str], dict[str, Any]]] = {
    "response_format": server_fields,
    "json_schema": lambda schema: {"json_schema": read_schema(schema)},
}
"""Fields that ask for a JSON schema: OpenAI's and vLLM's, and llama.cpp's for plain completions."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to find the probabilities of choices.

    Attributes:
        exact: Whether the server gives the log-probability of every choice (vLLM's
            ``logprob_token_ids``).
        top: Otherwise, the number of most likely tokens that it gives.
        ids: Whether to ask for ids in place of the tokens' names (vLLM's
            ``return_tokens_as_token_ids``).
        samples: Number of sampled answers whose shares stand for probabilities; 0 if the server
            gives them.
        decides: Whether to ask by ``/v1/decisions``.
    """

    exact: bool = False
    top: int = 0
    ids: bool = False
    samples: int = 0
    decides: bool = False

    @property
    def needs_ids(self) -> bool:
        """Whether labels are found by their tokens; otherwise by their words."""
        return not (self.samples or self.decides)

    def fields(self, choices: Sequence[int], *, chat: bool = False) -> dict[str, Any]:
        """Returns the fields of the request body.

        Args:
            choices: Token ids.
            chat: Whether the request is a chat's.
        """
        fields: dict[str, Any] = {"logprobs": 1 if self.exact else self.top}
        if chat:
            fields = {"logprobs": True} | ({} if self.exact else {"top_logprobs": self.top})
        if self.ids:
            # Several tokens can have the same text, so vLLM names them "token_id:7".
            fields["return_tokens_as_token_ids"] = True
        if self.exact:
            fields["logprob_token_ids"] = list(choices)
        return fields

    def __str__(self) -> str:
        """Names the way as in a fingerprint: "exact", "top-20" or "agreement-5"."""
        if self.decides:
            return "decisions"
        if self.samples:
            return f"agreement-{self.samples}"
        return "exact" if self.exact else f"top-{self.top}"


EXACT = Way(True, 0, True)
TOPS = (
    Way(False, 20, True),
    Way(False, 5, True),
    Way(False, 20, False),
    Way(False, 10, False),
    Way(False, 5, False),
    Way(False, 2, False),
)
"""Ways to try in turn: vLLM's limit is 20, OpenAI's is 5, and many servers know no other fields."""

MORE = Way(False, 1000, False)
"""llama.cpp gives as many tokens as it is asked for. With the first thousand, label probabilities
differ from exact ones by about 0.01; with the first 20, by up to 0.6."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of requests for a text; servers refuse what they do not know.

    Attributes:
        seed_bits: Bits of a seed; 0 to send none.
        top_k: Whether to send ``top_k``, which is no part of OpenAI's own interface.
        schema: How to ask for a JSON schema, one of :data:`SCHEMAS`.
    """

    seed_bits: int = 63
    top_k: bool = True
    schema: str = "response_format"

    def body(self, model: str, request: GenerateRequest) -> dict[str, Any]:
        """Returns the request body."""
        sampling = request.sampling
        body = completion_body(
            model, str(request.prompt), sampling.max_tokens, sampling.temperature
        )
        return body | self.options(request, sampling)

    def options(self, request: GenerateRequest, sampling: Sampling) -> dict[str, Any]:
        """Returns the fields that are the same for texts to continue and for chats."""
        options: dict[str, Any] = {"top_p": sampling.top_p}
        if self.seed_bits:
            options["seed"] = self.seed(request.seed)
        if sampling.stop:
            options["stop"] = list(sampling.stop)
        if self.top_k and sampling.top_k > 0:
            options["top_k"] = sampling.top_k
        if request.json_schema:
            options |= SCHEMAS[self.schema](request.json_schema)
        return options

    def seed(self, seed: int) -> int:
        """Returns a seed that the server takes."""
        return int(seed & (2**self.seed_bits - 1))

    def simpler(self, refusal: str, request: GenerateRequest) -> Form | None:
        """Returns the form without what a server refused; None if its message names no such part.

        Args:
            refusal: The server's message.
            request: The refused request.
        """
        # A message may quote the prompt, so a simpler form only counts once it is accepted.
        if found := self.with_shorter_seed(refusal):
            return found
        if self.top_k and request.sampling.top_k > 0 and "top_k" in refusal:
            return replace(self, top_k=False)
        return None

    def with_shorter_seed(self, refusal: str) -> Self | None:
        """Returns the form with a shorter seed or none; None if a refusal names no seed."""
        if self.seed_bits and re.search(r"\bseed\b", refusal, re.IGNORECASE):
            return replace(self, seed_bits=31 if self.seed_bits > 31 else 0)
        return None

    def left_out(self) -> list[str]:
        """Settings of a text's sampling that the server refuses."""
        return [
            *(["seed"] if not self.seed_bits else []),
            *(["top_k"] if not self.top_k else []),
        ]

    def remarks(self) -> list[str]:
        """Returns what a reader of the results should know."""
        left_out = self.left_out()
        if not left_out:
            return []
        return [
            f"the server refuses {' and '.join(left_out)}, so requests are sent without: its texts "
            "follow other rules than the settings say, and differ from run to run"
        ]


def completion_body(model: str, prompt: str, max_tokens: int, temperature: float) -> dict[str, Any]:
    """Returns the fields that every request has."""
    return {
        "model": model,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": temperature,
    }
