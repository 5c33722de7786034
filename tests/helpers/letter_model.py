"""A model of letters that is asked in messages."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from tests.helpers.doubles import ScriptedTeacher

from tutelage.teacher.base import Prompt, Request, ScoreRequest

LETTERS = "abcdeortw0369: "
END = "."


class LetterModel(ScriptedTeacher):
    """A model of next letters, which ends a message with a full stop; tokens are letters.

    Without ``knows_ends`` its template leaves out what the assistant said before.
    """

    def __init__(self, peak: float = 0.0, knows_ends: bool = True) -> None:
        super().__init__(self.scores)
        self._peak = peak
        self._knows_ends = knows_ends

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        return [[ord(letter) for letter in self.read(text)] for text in texts]

    def read(self, prompt: Prompt) -> str:
        """Returns the text that the model reads."""
        if isinstance(prompt, str):
            return prompt
        last = prompt.messages[-1]
        closed = "".join(
            f"{one.role}:{one.content if self._knows_ends or one.role != 'assistant' else '?'}{END}"
            for one in prompt.messages[:-1]
        )
        if prompt.is_prefilled:
            return f"{closed}assistant:{last.content}"
        return f"{closed}{last.role}:{last.content}{END}assistant:"

    def probability(self, text: str, letter: str) -> float:
        """Returns the probability of the next letter after a text."""

        def weight(one: str) -> float:
            digest = hashlib.sha256(f"{text}|{one}".encode()).digest()
            return math.exp(4 * digest[0] / 255) + self._peak * (one == "a")

        return weight(letter) / sum(map(weight, LETTERS + END))

    def scores(self, request: Request) -> list[float]:
        assert isinstance(request, ScoreRequest)
        text = self.read(request.prompt)
        return [math.log(self.probability(text, chr(one))) for one in request.choices]
