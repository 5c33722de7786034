"""Structured output: translates a JSON schema for each engine and validates the replies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from tutelage.errors import ConfigError
from tutelage.teacher.marks import unmarked


class TooManyItems(ValueError):
    """A list of a reply has more items than its schema allows, and no other fault."""


def read_schema(schema: str) -> dict[str, Any]:
    """Parses and checks a JSON schema.

    Args:
        schema: The schema as JSON text.

    Returns:
        The parsed schema.

    Raises:
        ConfigError: The text is not JSON, or not a valid schema.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        parsed = json.loads(schema)
    except ValueError as error:
        raise ConfigError(
            f"the JSON schema is not valid JSON ({error}): {schema[:120]!r}. Correct the prompt's "
            "schema."
        ) from error
    if not isinstance(parsed, dict):
        raise ConfigError(
            f"a JSON schema must be an object, but this one is {type(parsed).__name__}: "
            f"{schema[:120]!r}. Correct the prompt's schema."
        )
    try:
        Draft202012Validator.check_schema(parsed)
    except SchemaError as error:
        raise ConfigError(
            f"the JSON schema is invalid ({error.message}): {schema[:120]!r}. Correct the "
            "prompt's schema."
        ) from error
    return parsed


def vllm_fields(schema: str) -> dict[str, Any]:
    """Returns the keyword arguments of vLLM's ``StructuredOutputsParams`` for a schema."""
    return {"json": schema}


def server_fields(schema: str) -> dict[str, Any]:
    """Returns the fields of an OpenAI-compatible request body for a schema.

    The older ``guided_json`` is left out, because current servers silently ignore it.

    Raises:
        ConfigError: The schema is invalid.
    """
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": read_schema(schema), "strict": True},
        }
    }


def validate(text: str, schema: str) -> Any:
    """Parses a reply and checks it against a JSON schema.

    Thinking, a chat template's marks, a code fence or a preamble around the JSON are ignored.

    Args:
        text: The reply.
        schema: The schema as JSON text.

    Returns:
        The parsed value.

    Raises:
        TooManyItems: A list is too long.
        ValueError: The reply is not JSON, or does not fit the schema.
        ConfigError: The schema itself is invalid.
    """
    from jsonschema import Draft202012Validator
    from referencing.exceptions import Unresolvable

    # A reply is untrusted: deep nesting must not end the run.
    try:
        value = _parsed(text)
        # The first mismatch is enough for a message.
        mismatch = next(iter(Draft202012Validator(read_schema(schema)).iter_errors(value)), None)
    except RecursionError as error:
        raise ValueError("not JSON: nested too deeply") from error
    except Unresolvable as error:
        raise ConfigError(
            f"the JSON schema has a reference to something outside it ({error}): "
            f"{schema[:120]!r}. Correct the prompt's schema."
        ) from error
    if mismatch is not None:
        fault = TooManyItems if mismatch.validator == "maxItems" else ValueError
        raise fault(f"does not fit the schema at {mismatch.json_path}: {mismatch.message[:200]}")
    return value


def completed(text: str, finish_reason: str, schema: str) -> tuple[str, str]:
    """Checks a reply against a JSON schema; of a list cut short or too long, the start stays.

    Args:
        text: The reply.
        finish_reason: Why it ended; "length" for a reply that was cut short.
        schema: The schema as JSON text.

    Returns:
        The reply, closed after its last whole item if it was cut short or has too many, and why it
        does not fit the schema; "" if it does. Nothing is left of a list that was cut short in its
        first item, which fits where the schema says ``minItems`` 0.

    Raises:
        ConfigError: The schema itself is invalid.
    """
    try:
        validate(text, schema)
    except ValueError as mismatch:
        too_long = isinstance(mismatch, TooManyItems)
        whole = salvaged(text, schema) if too_long or finish_reason == "length" else ""
        return (whole, "") if whole else (text, str(mismatch))
    return text, ""


_TRIES = 16
"""Ends of items that are tried, from the last one backwards."""


def salvaged(text: str, schema: str) -> str:
    """Closes a JSON list that was cut short, or has too many items, behind its last whole item.

    Without a whole item the list is empty if the schema says ``minItems`` 0 in so many words: texts
    that a teacher did not finish are none, but an unfinished list of entities is not "no entity".

    Args:
        text: The reply.
        schema: The schema as JSON text.

    Returns:
        The JSON with the whole items of the list; "" if the reply has none that fits the schema.

    Raises:
        ConfigError: The schema itself is invalid.
    """
    answer = unmarked(text)
    begin = _BEGINS.search(answer.text)
    if begin is None or answer.fault:
        return ""
    start = answer.text[begin.end() :]
    ends = list(_item_ends(start))
    for end, closing in islice(reversed(ends), _TRIES):
        whole = start[:end] + closing
        try:
            validate(whole, schema)
        except ValueError:
            continue
        return whole
    return _emptied(start, schema)


def _emptied(start: str, schema: str) -> str:
    """The JSON with an empty list, closed where its first item begins; "" if none may be empty."""
    if not _may_be_empty(read_schema(schema)):
        return ""
    head, bracket, _ = start.partition("[")
    closing = "}" * head.count("{")
    empty = f"{head}{bracket}]{closing}"
    try:
        validate(empty, schema)
    except ValueError:
        return ""
    return empty


def _may_be_empty(schema: dict[str, Any]) -> bool:
    """Whether a list of the schema may be empty in so many words."""
    properties = schema.get("properties", {})
    return any(
        part.get("type") == "array" and part.get("minItems") == 0
        for part in (schema, *properties.values())
        if isinstance(part, dict)
    )


_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s"\[\]{},:]+|"', re.DOTALL)
_DEEPEST = 100


def _item_ends(text: str) -> Iterator[tuple[int, str]]:
    """Finds where items of lists end.

    Args:
        text: JSON, perhaps without its end.

    Yields:
        The end of an item, and the brackets that close the JSON behind it.
    """
    closing, ended = "", 0
    for token in _TOKENS.finditer(text):
        sign = token[0]
        if sign == '"':  # A string without its end.
            return
        if sign in "[{":
            closing = ("]" if sign == "[" else "}") + closing
            ended = 0
            if len(closing) > _DEEPEST:
                return
            continue
        # A number at the very end may lack digits, so what follows an item ends it.
        if ended and closing.startswith("]") and sign in ",]":
            yield ended, closing
        if sign in "]}":
            if not closing.startswith(sign):
                return
            closing = closing[1:]
            if not closing:
                return
        ended = 0 if sign in ",:" else token.end()
        if ended and closing.startswith("]") and sign[0] in '"]}':
            yield ended, closing


# JSON begins the reply, or follows a colon: "[]" within a sentence is no answer.
_BEGINS = re.compile(r"(?:\A|:)\s*(?=[\[{])")


def _parsed(text: str) -> Any:
    """The value of a reply, or the first one behind a preamble."""
    try:
        return json.loads(text)
    except ValueError as error:
        answer = unmarked(text)
        begin = _BEGINS.search(answer.text)
        if begin is None or answer.fault:
            raise ValueError(f"not JSON: {error}") from error
        try:
            return json.JSONDecoder().raw_decode(answer.text, begin.end())[0]
        except ValueError:
            raise ValueError(f"not JSON: {error}") from error
