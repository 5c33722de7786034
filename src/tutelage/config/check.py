"""Checks settings against the types that they are declared with, when a configuration is composed.

A component is checked against the signature of its target, or against the fields of the target's
``settings_type``; a group without a target against its dataclass of :mod:`tutelage.config.schema`.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Collection, Mapping
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from tutelage.config.schema import Component
from tutelage.errors import ConfigError, did_you_mean

T = TypeVar("T")

_WORDS = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "sequence_str": "a list",
    "iterable_type": "a list",
    "is_instance_of": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
}
"""What a setting should have been, by pydantic's error type."""

_OBJECTS = ("callable_type", "is_type", "is_subclass_of", "time_delta_type", "bytes_type")
"""Errors about types that no YAML value has; the target decides about its value itself."""


@dataclasses.dataclass(frozen=True, slots=True)
class Declared:
    """The settings that a target takes.

    Attributes:
        types: declared type by name; ``Any`` where there is no annotation.
        required: names without a default.
        open: True where the target takes any keyword, so that no name can be refused.
    """

    types: Mapping[str, Any]
    required: frozenset[str]
    open: bool = False


def locate(target: str, setting: str) -> Any:
    """Imports what a ``_target_`` names.

    Raises:
        ConfigError: it cannot be imported; the message names the setting and the cause.
    """
    module, _, name = target.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{setting}._target_={target} cannot be imported: {error}. Give the dotted path of a "
            "class or function in an installed module, or in a folder that PYTHONPATH names."
        ) from error


def declared(target: Any) -> Declared:
    """Returns the settings that a class or function declares."""
    settings_type = getattr(target, "settings_type", None)
    return _of_dataclass(settings_type) if settings_type is not None else _of_signature(target)


class UnknownSetting(ConfigError):
    """A component has a setting that its target does not take."""


def check_component(
    component: Component,
    setting: str,
    given: Collection[str] = (),
    defaults: Collection[str] = (),
) -> None:
    """Checks a component's settings against what its target declares.

    Args:
        setting: the path of the component in the configuration, for messages.
        given: arguments that the run adds, which the configuration must not set.
        defaults: arguments that the run adds where the configuration does not set them.

    Raises:
        ConfigError: an unknown, missing or wrong setting.
    """
    takes = declared(locate(component.target, setting))
    known = {name: kind for name, kind in takes.types.items() if name not in given}
    if not takes.open:
        _check_names(component.settings, known, setting, component.kind)
    needed = [name for name in known if name in takes.required and name not in defaults]
    if missing := [name for name in needed if name not in component.settings]:
        raise ConfigError(
            f"{setting}.{missing[0]} has no value and {component.kind} needs one: "
            f"add +{setting}.{missing[0]}=… to the command."
        )
    for name, value in component.settings.items():
        if name in known:
            check_value(f"{setting}.{name}", value, known[name])


def check_group(kind: type[T], node: Mapping[str, Any], setting: str) -> T:
    """Builds a group's dataclass from its plain values.

    Raises:
        ConfigError: an unknown, missing or wrong setting.
    """
    takes = _of_dataclass(kind)
    _check_names(node, takes.types, setting, setting)
    if missing := [name for name in takes.required if name not in node]:
        raise ConfigError(f"{setting}.{min(missing)} has no value and needs one.")
    for name, value in node.items():
        check_value(f"{setting}.{name}", value, takes.types[name])
    return kind(**node)


def check_value(setting: str, value: Any, kind: Any) -> None:
    """Checks one value against a type; numbers are not taken for text, nor true for 1.

    Raises:
        ConfigError: the value is of another type, or none of the allowed ones.
    """
    from pydantic import PydanticSchemaGenerationError, PydanticUserError, ValidationError

    if value == "???" or isinstance(value, Component):
        return
    try:
        adapter = _adapter(kind)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return  # a type of the run's own, which no YAML value can be
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError as error:
        errors = [one for one in error.errors() if one["type"] != "none_required"]
        expressible = [one for one in errors if not _beyond_yaml(one)]
        is_path = isinstance(value, str) and any(_class_of(one) == "Path" for one in errors)
        if expressible and not is_path:
            # Of a union the place would name its branch, not an element.
            place = ".".join(map(str, errors[0]["loc"])) if len(errors) == 1 else ""
            raise ConfigError(_message(setting, value, expressible, place)) from None


def _beyond_yaml(error: Any) -> bool:
    """Returns whether no YAML value could have avoided the error."""
    if error["type"] in ("tuple_type", "set_type"):
        return isinstance(error["input"], list)
    return error["type"] in _OBJECTS or _class_of(error) not in ("", "Sequence")


def _class_of(error: Any) -> str:
    return str(error["ctx"]["class"]) if error["type"] == "is_instance_of" else ""


def _check_names(node: Mapping[str, Any], known: Collection[str], setting: str, owner: str) -> None:
    for name in node:
        if name not in known:
            unknown = did_you_mean(f"setting of {owner}", name, known)
            raise UnknownSetting(f"{setting}.{name}: {unknown}")


def _message(setting: str, value: Any, errors: list[Any], place: str) -> str:
    """One sentence for the first error, and the allowed values where there are some."""
    allowed = [error for error in errors if error["type"] == "literal_error"]
    if allowed:
        choices = allowed[0]["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        choices += ["true", "false"] if any(e["type"] == "bool_type" for e in errors) else []
        return did_you_mean(setting, str(allowed[0]["input"]), choices)
    kinds = dict.fromkeys(
        _WORDS.get(str(error["type"]), str(error["msg"]).lower()) for error in errors
    )
    return f"{setting}{f' ({place})' if place else ''}={value!r} is not {' or '.join(kinds)}."


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))


def _of_dataclass(kind: Any) -> Declared:
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    without = (dataclasses.MISSING, dataclasses.MISSING)
    return Declared(
        {field.name: hints[field.name] for field in fields},
        frozenset(f.name for f in fields if (f.default, f.default_factory) == without),
    )


def _of_signature(target: Any) -> Declared:
    parameters = [
        parameter
        for parameter in inspect.signature(target).parameters.values()
        if parameter.kind is not parameter.VAR_POSITIONAL
    ]
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # names that only a type checker imports
        hints = {}
    named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    return Declared(
        {parameter.name: hints.get(parameter.name, Any) for parameter in named},
        frozenset(parameter.name for parameter in named if parameter.default is parameter.empty),
        open=len(named) < len(parameters),
    )
