"""Structured output: translates a JSON schema for each engine and validates the replies."""

from __future__ import annotations

import json
import re
from typing import Any

from tutelage.errors import ConfigError
from tutelage.teacher.marks import unmarked


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
        raise ValueError(
            f"does not fit the schema at {mismatch.json_path}: {mismatch.message[:200]}"
        )
    return value


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
