"""A scripted teacher for whole runs.

Hydra builds it with ``teacher=local teacher._target_=tests.helpers.teachers.LabelWritingTeacher``.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tutelage.errors import TeacherError
from tutelage.teacher.base import (
    Chat,
    GenerateRequest,
    OnReply,
    Prompt,
    Reply,
    Request,
    ScoreRequest,
)
from tutelage.teacher.replies import check_batch

KEYWORDS: dict[str, tuple[str, ...]] = {
    "playlist": ("playlist", "add", "track", "artist", "tune"),
    "restaurant": ("book", "table", "restaurant", "people", "reservation"),
    "weather": ("weather", "forecast", "rain", "cold", "sunny"),
    "music": ("play", "music", "listen", "album", "song"),
    "rating": ("rate", "stars", "rating", "points", "novel"),
    "search": ("find", "show", "search", "game", "television"),
    "cinema": ("movie", "cinema", "times", "screening", "theatre"),
}
"""Keywords of the texts of each class, by label word."""

_FILLERS = (
    "please",
    "the",
    "for",
    "me",
    "tonight",
    "in",
    "paris",
    "now",
    "a",
    "with",
    "green",
    "tomorrow",
    "old",
    "near",
    "and",
    "seven",
)
_SLIPS = 0.15
"""Share of written texts of a wrong class, and share of useless ones."""

ASKS = "TUTELAGE_TEST_ASKS"
"""Environment variable: a file that gets one line per computed request."""


def read(prompt: Prompt) -> str:
    """A prompt as the scripted teacher reads it, up to where its reply begins."""
    if isinstance(prompt, Chat) and not prompt.is_prefilled:
        return f"{prompt}\n\n[assistant]"
    return str(prompt)


def explained(request: GenerateRequest) -> str:
    """Explains each mistake of a prompt of method=elad, with the label that it says is right.

    "" for a request of another kind.
    """
    if "mistakes" not in json.loads(request.json_schema or "{}").get("properties", {}):
        return ""
    found = re.findall(
        r"^(\d+)\. .*?(?:(\w+), but it said .*|\((\w+)\)\.?)$", read(request.prompt), re.MULTILINE
    )
    return json.dumps(
        {
            "mistakes": [
                {
                    "number": int(number),
                    "explanation": f"Mistake {number} is misled by a word.",
                    "label": taken_for or said,
                }
                for number, taken_for, said in found
            ]
        }
    )


class LabelWritingTeacher:
    """Labels and writes texts by the keywords of SNIPS classes.

    Scores favour the label with the most keywords in the text. Texts are written from the keywords
    of the requested class. Replies depend on the request alone.

    Args:
        delay: Seconds per reply.
        longest: Longest prompt in words, like a context window; longer ones fail. 0: no limit.
        dies_after: Replies after which it raises, like a dead engine; 0: never.
        settings: Settings of the replaced engine; unused.
    """

    def __init__(
        self, *, delay: float = 0.0, longest: int = 0, dies_after: int = 0, **settings: object
    ) -> None:
        self._delay = delay
        self._longest = longest
        self._dies_after = dies_after
        self._answered = 0

    @property
    def fingerprint(self) -> str:
        return "label-writing:1"

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        check_batch(requests)
        replies = []
        for request in requests:
            if self._dies_after and self._answered >= self._dies_after:
                raise TeacherError(
                    "the engine died. Lower teacher.batch_size; what was answered is in the cache."
                )
            if log := os.environ.get(ASKS):
                with Path(log).open("a", encoding="utf-8") as file:
                    file.write(f"{zlib.crc32(repr(request).encode()):08x}\n")
            time.sleep(self._delay)
            self._answered += 1
            reply = self._reply(request)
            replies.append(reply)
            if on_reply is not None:
                on_reply(reply)
        return replies

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        return [[zlib.crc32(word.encode()) for word in read(text).split()] for text in texts]

    def close(self) -> None:
        pass

    def _reply(self, request: Request) -> Reply:
        length = len(read(request.prompt).split())
        if self._longest and length > self._longest:
            return Reply(
                request.id,
                error=f"the prompt has {length} tokens and the model takes {self._longest}",
            )
        if isinstance(request, ScoreRequest):
            return Reply(
                request.id,
                logprobs=self._scores(request),
                prompt_tokens=length,
                completion_tokens=1,
                finish_reason="length",
            )
        text = self._text(request)
        return Reply(
            request.id,
            text=text,
            prompt_tokens=length,
            completion_tokens=len(text.split()),
            finish_reason="stop",
        )

    def _scores(self, request: ScoreRequest) -> tuple[float, ...]:
        end = "[user]\n" if isinstance(request.prompt, Chat) else "Text: "
        text = read(request.prompt).rsplit(end, 1)[-1].rsplit("\n", 1)[0].lower()
        words = re.findall(r"[a-z]+", text)
        hits = {
            zlib.crc32(name.encode()): sum(word in keys for word in words)
            for name, keys in KEYWORDS.items()
        }
        # A little noise per text, so that no two texts have the same scores.
        noise = [random.Random(f"{choice} {text}").random() for choice in request.choices]
        return tuple(
            -4.0 + 1.5 * hits.get(choice, 0) + 0.2 * extra
            for choice, extra in zip(request.choices, noise, strict=True)
        )

    def _text(self, request: GenerateRequest) -> str:
        rng = random.Random(f"{request.seed} {request.prompt}")
        if explanations := explained(request):
            return explanations
        if request.json_schema:
            count = json.loads(request.json_schema)["properties"]["texts"]["maxItems"]
            asked = [word for word in re.findall(r"\w+", read(request.prompt)) if word in KEYWORDS]
            return json.dumps({"texts": [self._sentence(asked, rng) for _ in range(count)]})
        if re.search(r"\n\d+\.$", read(request.prompt)) is None:
            return f" takes one topic for another when a text says {rng.choice(_FILLERS)}"
        # The line above the numbered demonstrations names the class.
        heading = re.split(r"\n1\.", read(request.prompt))[0].splitlines()[-1]
        asked = [word for word in re.findall(r"\w+", heading) if word in KEYWORDS]
        return f" {self._sentence(asked, rng)}"

    def _sentence(self, asked: Sequence[str], rng: random.Random) -> str:
        name = asked[0] if asked else rng.choice(sorted(KEYWORDS))
        if rng.random() < _SLIPS:
            name = rng.choice(sorted(KEYWORDS))
        if rng.random() < _SLIPS:
            return "no"
        words = [*rng.sample(KEYWORDS[name], 2), *rng.sample(_FILLERS, 5)]
        rng.shuffle(words)
        return " ".join(words)


class ImpressionableTeacher(LabelWritingTeacher):
    """One whose scores depend on the whole prompt: on its rule and its demonstrations."""

    @property
    def fingerprint(self) -> str:
        return "impressionable:1"

    def _scores(self, request: ScoreRequest) -> tuple[float, ...]:
        prompt = read(request.prompt)
        noise = [random.Random(f"{choice} {prompt}").random() for choice in request.choices]
        return tuple(
            score + 2.0 * extra
            for score, extra in zip(super()._scores(request), noise, strict=True)
        )


class SecondTeacher(LabelWritingTeacher):
    """Another model than :class:`LabelWritingTeacher`: other tokens, less sure, twice the length.

    Args:
        name: Part of its fingerprint.
    """

    def __init__(self, *, name: str = "2", **settings: Any) -> None:
        super().__init__(**settings)
        self._name = name

    @property
    def fingerprint(self) -> str:
        return f"label-writing:{self._name}"

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        return [[token + 1 for token in row for _ in (1, 2)] for row in super().tokenize(texts)]

    def _reply(self, request: Request) -> Reply:
        reply = super()._reply(request)
        return replace(reply, prompt_tokens=2 * reply.prompt_tokens)

    def _scores(self, request: ScoreRequest) -> tuple[float, ...]:
        known = replace(request, choices=tuple(choice - 1 for choice in request.choices))
        return tuple(0.5 * score for score in super()._scores(known))
