"""Reads what OpenAI-compatible servers reply, in the dialects of several of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.characters import usable

LEAST = -100.0
"""Log-probability of a token that a server calls impossible (-inf, -9999 or null)."""
_ABOVE_ZERO = 1e-3
"""Servers round: a log-probability this little above 0 is 0."""
_MOST_TOKENS = 10_000_000
_HTML = re.compile(r"\s*(?:<!doctype html|<html|<head|<body)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Completion:
    """One reply of ``/v1/completions`` or ``/v1/chat/completions``.

    Attributes:
        text: The continuation, or the answer in a chat.
        finish_reason: "stop", "length" or a server's own word.
        prompt_tokens: Length of the prompt; None if the server does not say.
        completion_tokens: Length of the continuation; None if the server does not say.
        model: What the server calls its model; "" if it does not say.
        logprobs: Whatever the reply has for log-probabilities; see :func:`top_tokens`.
        thoughts: What the model thought before its answer, where the server tells them apart.
        has_thought: Whether the server counts tokens of thoughts, which it may keep to itself.
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    model: str
    logprobs: Any
    thoughts: str = ""
    has_thought: bool = False

    @property
    def whole(self) -> str:
        """The text with the thoughts in front, in the marks of most models."""
        if not self.thoughts:
            return self.text
        end = "\n</think>\n" if self.text else ""
        return f"<think>\n{self.thoughts}{end}{self.text}"


@dataclass(frozen=True, slots=True)
class TopToken:
    """One of the most likely next tokens.

    Attributes:
        name: The token as the server spells it.
        logprob: Natural-log probability, at least :data:`LEAST`.
        id: Its id, if the name is one; None otherwise.
        stated_id: An id beside the name, which some servers get wrong.
        raw: Its bytes, if the server has them; b"" otherwise.
    """

    name: str
    logprob: float
    id: int | None = None
    stated_id: int | None = None
    raw: bytes = b""


def read_json(data: bytes) -> Any:
    """Parses a body: JSON, or the events of a stream that was not asked for.

    Raises:
        ValueError: The body is neither, or nested too deeply.
    """
    text = data.decode("utf-8-sig", errors="replace").strip()
    try:
        if text.startswith(("data:", "event:", ":")):
            return _joined(list(_events(text)))
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _events(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "data" and value.strip() not in ("", "[DONE]"):
            event = json.loads(value)
            if isinstance(event, dict):
                yield event


def _joined(events: list[dict[str, Any]]) -> Any:
    """Joins the parts of a stream into one completion."""
    if not events:
        raise ValueError("a stream without events")
    whole: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    parts = []
    for event in events:
        # The last word counts, but null does not take back what an earlier part said.
        whole |= {key: value for key, value in event.items() if value is not None}
        for part in _dicts(event.get("choices"))[:1]:
            logprobs = choice.get("logprobs") or part.get("logprobs")
            choice |= {key: value for key, value in part.items() if value is not None}
            choice["logprobs"] = logprobs
            text = part.get("text")
            delta = part.get("delta")
            if text is None and isinstance(delta, dict):
                text = delta.get("content")
            parts.append(text if isinstance(text, str) else "")
    if choice:
        whole["choices"] = [{**choice, "text": "".join(parts)}]
    return whole


def read_completion(answer: Any) -> Completion:
    """Reads the parsed body of a completion with one choice.

    Raises:
        ValueError: The body holds no completion, or several.
    """
    completions = read_completions(answer)
    if len(completions) != 1:
        raise ValueError("it does not hold exactly one choice")
    return completions[0]


def read_completions(answer: Any) -> list[Completion]:
    """Reads the parsed body of a completion with one or more choices.

    Returns:
        One completion per choice; the first one has the token counts of all.

    Raises:
        ValueError: The body holds no completion.
    """
    if not isinstance(answer, dict):
        raise ValueError(f"the body is {type(answer).__name__}, not an object")
    choices = answer.get("choices")
    if choices is None and isinstance(answer.get("content"), str):
        choices = [{**answer, "text": answer["content"]}]  # llama.cpp's own form
    if isinstance(choices, list) and choices and _dicts(choices) == choices:
        read = [_completion(answer, choice) for choice in choices]
        rest = [replace(one, prompt_tokens=None, completion_tokens=None) for one in read[1:]]
        return [read[0], *rest]
    if said := _said(answer):
        raise ValueError(f"it says: {said}")
    raise ValueError("it does not hold exactly one choice")


def _completion(answer: dict[str, Any], choice: dict[str, Any]) -> Completion:
    text, thoughts = choice.get("text"), ""
    message = choice.get("message")
    if text is None and isinstance(message, dict):
        text, thoughts = _message(message)
    if not isinstance(text, str):
        raise ValueError("its text is missing")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("completion_tokens_details")
    model = answer.get("model")
    logprobs = choice.get("logprobs")
    for one in (choice, answer):
        logprobs = one.get("completion_probabilities") if logprobs is None else logprobs
    return Completion(
        text,
        on_one_line(str(choice.get("finish_reason") or ""))[:50],
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        on_one_line(model)[:200] if isinstance(model, str) else "",
        logprobs,
        thoughts,
        isinstance(details, dict) and bool(_count(details.get("reasoning_tokens"))),
    )


def _message(message: dict[str, Any]) -> tuple[Any, str]:
    """Returns the answer of a chat message and its thoughts."""
    thoughts = [message.get(name) for name in ("reasoning_content", "reasoning", "thinking")]
    thought = next((one for one in thoughts if isinstance(one, str) and one.strip()), "")
    content = message.get("content")
    if isinstance(content, list):
        # Parts of several kinds, as Mistral sends them.
        parts = _dicts(content)
        inner = [part for one in parts for part in _dicts(one.get("thinking"))]
        thought = thought or "".join(str(part.get("text") or "") for part in inner)
        content = "".join(one["text"] for one in parts if isinstance(one.get("text"), str))
    if content is None:
        refusal = message.get("refusal")
        content = refusal if isinstance(refusal, str) else ""
        if not (content or thought or message.get("role")):
            return None, ""
    return content, thought.strip()


def _count(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if known else None


def top_tokens(logprobs: Any) -> list[TopToken]:
    """Reads the most likely tokens at the first position.

    Three forms are known: vLLM's and OpenAI's ``{"top_logprobs": [{token: value}]}``, also with a
    list in place of the inner object; the chat form ``{"content": [{"top_logprobs": […]}]}`` of
    llama.cpp; and its older list of ``{"probs": [{"tok_str", "prob"}]}``.

    Raises:
        ValueError: There are none, or a value is impossible.
    """
    rows: Any = logprobs
    if isinstance(logprobs, dict):
        rows = logprobs.get("top_logprobs")
        if rows is None:
            rows = logprobs.get("content")
    if isinstance(rows, dict):
        rows = [rows]
    first = next((row for row in rows if row), None) if isinstance(rows, list) else None
    if isinstance(first, dict):
        for name in ("top_logprobs", "top_probs", "probs"):
            if isinstance(first.get(name), list | dict):
                first = first[name]
                break
        else:
            if "token" in first and "logprob" in first:
                raise ValueError("it has the log-probability of one token only")
    if isinstance(first, dict):
        found = [_top_token(name, value, {}) for name, value in first.items()]
    else:
        found = [_listed(entry) for entry in _dicts(first)]
    if not found:
        raise ValueError("it holds no log-probabilities")
    return found


def _listed(entry: dict[str, Any]) -> TopToken:
    name = entry.get("token", entry.get("tok_str"))
    name = name if isinstance(name, str) else ""
    if "prob" in entry and "logprob" not in entry:
        chance = entry["prob"]
        if not isinstance(chance, int | float) or not 0 <= chance <= 1.001:
            raise ValueError(f"the probability of {name!r} is {chance!r:.40}")
        return _top_token(name, math.log(chance) if chance else None, entry)
    return _top_token(name, entry.get("logprob"), entry)


def _top_token(name: str, value: Any, entry: dict[str, Any]) -> TopToken:
    id_text = name.removeprefix("token_id:")
    named = int(id_text) if id_text != name and id_text.isdecimal() else None
    stated = entry.get("id")
    raw = entry.get("bytes")
    whole = isinstance(raw, list) and all(type(byte) is int and 0 <= byte < 256 for byte in raw)
    return TopToken(
        name,
        _logprob(name, value),
        named,
        stated if type(stated) is int else None,
        bytes(raw) if isinstance(raw, list) and whole else b"",
    )


def _logprob(name: str, value: Any) -> float:
    # JSON has no infinity, so some servers write null.
    if value is None:
        return LEAST
    impossible = ValueError(f"the log-probability of {name!r} is {value!r:.40}")
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise impossible
    # A whole number may be too large for a float, so the comparisons come first.
    if value <= LEAST:
        return LEAST
    if not value <= _ABOVE_ZERO:
        raise impossible
    return min(float(value), 0.0)


def read_decision(answer: Any, words: Sequence[str]) -> tuple[tuple[float, ...], int | None]:
    """Reads the reply of ``/v1/decisions`` to one question.

    Args:
        answer: The parsed body, in the form of OpenAI's beta.
        words: The options of the question.

    Returns:
        The natural-log probability of each option, and the length of the prompt in tokens; None if
        the server does not say.

    Raises:
        ValueError: It holds no probability of some option.
    """
    answers = _dicts(answer.get("answers")) if isinstance(answer, dict) else []
    if len(answers) != 1 or answers[0].get("type") == "refusal":
        raise ValueError(f"it holds no decision: {_said(answer) or answers!r:.100}")
    found = {}
    for option in _dicts(answers[0].get("probabilities")):
        chance = option.get("probability")
        if (
            not isinstance(chance, int | float)
            or isinstance(chance, bool)
            or not 0 <= chance <= 1 + _ABOVE_ZERO
        ):
            raise ValueError(f"the probability of {option.get('value')!r:.40} is {chance!r:.40}")
        found[option.get("value")] = math.log(chance) if chance else LEAST
    if missing := [word for word in words if word not in found]:
        raise ValueError(f"it holds no probability of {missing[0]!r}")
    usage = answer.get("usage")
    tokens = _count(usage.get("input_tokens")) if isinstance(usage, dict) else None
    return tuple(min(max(found[word], LEAST), 0.0) for word in words), tokens


def read_token_ids(answer: Any) -> tuple[list[int], list[str] | None]:
    """Reads the reply of ``/tokenize``.

    Returns:
        The ids, and the spelling of each token if the server has them.

    Raises:
        ValueError: It holds no token ids.
    """
    tokens = answer.get("tokens") if isinstance(answer, dict) else answer
    if not isinstance(tokens, list):
        raise ValueError("it holds no token ids")
    ids, pieces = [], []
    for token in tokens:
        number = token.get("id") if isinstance(token, dict) else token
        if type(number) is not int or number < 0:
            raise ValueError("it holds no token ids")
        ids.append(number)
        piece = token.get("piece") if isinstance(token, dict) else None
        # Part of a character is a list of bytes.
        if isinstance(piece, list) and all(type(byte) is int and 0 <= byte < 256 for byte in piece):
            piece = "".join(f"<0x{byte:02X}>" for byte in piece)
        pieces.append(piece)
    spelt = [piece for piece in pieces if isinstance(piece, str)]
    return ids, spelt if ids and len(spelt) == len(ids) else None


def message_of(data: bytes) -> str:
    """Returns the message in the body of an error, in the words of many servers; never ""."""
    text = data.decode("utf-8-sig", errors="replace").strip()
    if _HTML.match(text):
        title = _TITLE.search(text)
        words = title[1] if title else _TAGS.sub(" ", text)
        return f"an HTML page, {on_one_line(words)[:100]!r}"
    try:
        return _said(json.loads(text)) or text or "an empty body"
    except (ValueError, RecursionError):
        return text or "an empty body"


def _said(body: Any) -> str:
    """{"error": {"message"}}, {"error"}, {"message"}, and FastAPI's {"detail"}, also as a list."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, map(_said, body[:3])))
    if not isinstance(body, dict):
        return ""
    if isinstance(body.get("msg"), str):
        place = body.get("loc")
        where = ".".join(map(str, place)) if isinstance(place, list) else ""
        return f"{where}: {body['msg']}" if where else str(body["msg"])
    for name in ("error", "message", "detail", "details", "errors", "error_message", "title"):
        if said := _said(body.get(name)):
            return said
    return ""


def on_one_line(text: str) -> str:
    """Returns a text without line ends and unusable characters."""
    return " ".join(usable(text).split())


def _dicts(rows: Any) -> list[dict[str, Any]]:
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
