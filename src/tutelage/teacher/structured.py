"""Structured output, in one place: from a JSON schema to each engine's own fields, and the check afterwards."""

from __future__ import annotations

import json
from typing import Any

from tutelage.errors import ConfigError


def read_schema(schema: str) -> dict[str, Any]:
    """Parse and check a JSON schema.

    Raises:
        ConfigError: it is not JSON, or not a schema.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        parsed = json.loads(schema)
    except ValueError as error:
        raise ConfigError(
            f"the JSON schema is not JSON ({error}): {schema[:120]!r}. Mend the prompt's schema."
        ) from error
    if not isinstance(parsed, dict):
        raise ConfigError(
            f"a JSON schema must be an object, this one is {type(parsed).__name__}: {schema[:120]!r}."
        )
    try:
        Draft202012Validator.check_schema(parsed)
    except SchemaError as error:
        raise ConfigError(
            f"the JSON schema is not valid ({error.message}): {schema[:120]!r}. Mend the prompt's schema."
        ) from error
    return parsed


def vllm_fields(schema: str) -> dict[str, Any]:
    """Keyword arguments of vLLM's ``StructuredOutputsParams``."""
    return {"json": schema}


def server_fields(schema: str) -> dict[str, Any]:
    """Fields of an OpenAI-compatible request body.

    The older ``guided_json`` is not sent: servers of today ignore it silently.
    """
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": read_schema(schema), "strict": True},
        }
    }


def validate(text: str, schema: str) -> Any:
    """Parse ``text`` and check it against the JSON schema ``schema`` (as text).

    Raises:
        ValueError: the text is not JSON, or does not fit.
        ConfigError: the schema itself is wrong.
    """
    from jsonschema import Draft202012Validator
    from referencing.exceptions import Unresolvable

    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("not JSON: nested too deeply") from error
    try:
        wrong = next(iter(Draft202012Validator(read_schema(schema)).iter_errors(value)), None)
    except Unresolvable as error:
        raise ConfigError(
            f"the JSON schema refers to what is not in it ({error}): {schema[:120]!r}. Mend the prompt's schema."
        ) from error
    if wrong is not None:
        raise ValueError(f"does not fit the schema at {wrong.json_path}: {wrong.message[:200]}")
    return value
