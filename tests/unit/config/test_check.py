"""Settings are held to the types that they are declared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

from tutelage.config.check import (
    UnknownSetting,
    check_component,
    check_group,
    check_value,
    declared,
    locate,
)
from tutelage.config.schema import Component, TrainingConfig
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.teacher.base import Teacher

HERE = "tests.unit.config.test_check"


class OwnType:
    """A type that no YAML value can have."""


@dataclass(frozen=True, slots=True)
class Settings:
    size: int
    kind: Literal["small", "large"] = "small"
    shares: dict[str, float] = field(default_factory=dict)
    derived: int = field(init=False, default=0)


class WithSettings:
    settings_type = Settings

    def __init__(self, settings: Settings, prompts: Any) -> None: ...


class Plain:
    def __init__(
        self, model: str, size: int = 3, *, labels: Sequence[str] | None = None
    ) -> None: ...


class Untyped:
    def __init__(self, model, size=3): ...  # type: ignore[no-untyped-def]


class Open:
    def __init__(self, model: str, **more: Any) -> None: ...


class Unresolved:
    def __init__(self, teacher: Teacher, size: int = 3) -> None: ...


def function(size: int, *names: str) -> None: ...


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, bool),
        (3, int),
        (-3, int),
        (0.5, float),
        (1, float),
        ("", str),
        ("word", str),
        (None, int | None),
        (7, int | None),
        ("auto", bool | Literal["auto"]),
        (False, bool | Literal["auto"]),
        ("small", Literal["small", "large"]),
        (None, Literal["small", "large"] | None),
        (["a", "b"], list[str]),
        ([], list[str]),
        (["a"], Sequence[str]),
        (["small"], list[Literal["small", "large"]]),
        ("uniform", Literal["uniform"] | Sequence[float]),
        ([0.5, 0.5], Literal["uniform"] | Sequence[float]),
        ({"a": 1.0}, dict[str, float]),
        ({"a": {"word": "x"}}, Mapping[str, Any]),
        ({"a": ["polite", ""]}, dict[str, list[str]] | None),
        (object(), Any),
    ],
)
def test_a_value_of_the_declared_type_is_taken(value: object, kind: Any) -> None:
    check_value("group.key", value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("abc", int, "group.key='abc' is not a whole number."),
        ("3", int, "group.key='3' is not a whole number."),
        (2.5, int, "group.key=2.5 is not a whole number."),
        (2.0, int, "group.key=2.0 is not a whole number."),
        (None, int, "group.key=None is not a whole number."),
        (True, int, "group.key=True is not a whole number."),
        (True, float, "group.key=True is not a number."),
        ("high", float, "group.key='high' is not a number."),
        (1, bool, "group.key=1 is not true or false."),
        ("yes", bool, "group.key='yes' is not true or false."),
        (7, str, "group.key=7 is not text."),
        (None, str, "group.key=None is not text."),
        ("many", int | None, "group.key='many' is not a whole number."),
        (1, bool | str, "group.key=1 is not true or false or text."),
        ("a, b", list[str], "group.key='a, b' is not a list."),
        (["a", 2], list[str], "group.key (1)=['a', 2] is not text."),
        ({"a": "x"}, dict[str, float], "group.key (a)={'a': 'x'} is not a number."),
        ("a", dict[str, float], "group.key='a' is not a mapping."),
        ("a", Sequence[str], "group.key='a' is not a list."),
        (3, Sequence[str], "group.key=3 is not a list."),
        ("a", tuple[float, float], "group.key='a' is not a list."),
        ("a", int | OwnType, "group.key='a' is not a whole number."),
        (3, str | Path, "group.key=3 is not text."),
    ],
)
def test_a_value_of_another_type_is_refused_with_what_it_should_be(
    value: object, kind: Any, said: str
) -> None:
    assert refused(lambda: check_value("group.key", value, kind)) == said


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (
            "smal",
            Literal["small", "large"],
            "Unknown group.key 'smal'. Did you mean 'small'? Available: large, small.",
        ),
        (3, Literal["small", "large"], "Unknown group.key '3'. Available: large, small."),
        (None, Literal["small", "large"], "Unknown group.key 'None'. Available: large, small."),
        (
            "larg",
            Literal["small", "large"] | None,
            "Unknown group.key 'larg'. Did you mean 'large'? Available: large, small.",
        ),
        (
            "perhaps",
            bool | Literal["auto"],
            "Unknown group.key 'perhaps'. Available: auto, false, true.",
        ),
        (
            ["small", "larg"],
            list[Literal["small", "large"]],
            "Unknown group.key 'larg'. Did you mean 'large'? Available: large, small.",
        ),
        (
            "unifrm",
            Literal["uniform"] | Sequence[float],
            "Unknown group.key 'unifrm'. Did you mean 'uniform'? Available: uniform.",
        ),
    ],
)
def test_a_value_that_is_none_of_the_allowed_ones_is_refused_with_the_nearest(
    value: object, kind: Any, said: str
) -> None:
    assert refused(lambda: check_value("group.key", value, kind)) == said


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("anything", Callable[[], int] | OwnType),
        ("anything", OwnType | None),
        ("a/folder", Path),
        ("a/folder", Path | int | None),
        (["a/folder"], Sequence[Path]),
        ([0.9, 0.95], tuple[float, float]),
        (["a"], set[str] | None),
        ("10s", timedelta),
        ("anything", TypeVar("T")),
        ("???", int),
        (Component("a.b", {}), int),
    ],
)
def test_a_type_that_no_yaml_value_has_is_left_to_its_target(value: object, kind: Any) -> None:
    check_value("group.key", value, kind)


def test_a_group_becomes_its_dataclass() -> None:
    built = check_group(Settings, {"size": 3, "kind": "large"}, "mine")
    assert built == Settings(3, "large")
    said = refused(lambda: check_group(Settings, {"size": 3, "knd": "large"}, "mine"))
    assert said.startswith("mine.knd: Unknown setting of mine 'knd'. Did you mean 'kind'?")
    assert "derived" not in said
    said = refused(lambda: check_group(Settings, {"kind": "large"}, "mine"))
    assert said == "mine.size has no value and needs one."
    said = refused(lambda: check_group(Settings, {"size": 3, "kind": "big"}, "mine"))
    assert said.startswith("Unknown mine.kind 'big'.")
    said = refused(lambda: check_group(TrainingConfig, {"gold": "shots"}, "training"))
    assert said == "training.final_epochs has no value and needs one."


def test_a_target_s_signature_says_what_it_takes() -> None:
    plain = declared(Plain)
    assert plain.types == {"model": str, "size": int, "labels": Sequence[str] | None}
    assert (plain.required, plain.open) == ({"model"}, False)
    assert declared(Open).open
    assert declared(Open).required == {"model"}
    assert declared(Untyped).types == {"model": Any, "size": Any}
    # Names that only a type checker imports leave the names of the settings.
    assert declared(Unresolved).types == {"teacher": Any, "size": Any}
    assert declared(function).types == {"size": int}
    assert declared(WithSettings).types.keys() == {"size", "kind", "shares"}
    assert declared(WithSettings).required == {"size"}


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("Plain", {"model": "a", "sise": 3}, "mine.sise: Unknown setting of Plain 'sise'. Did you"),
        ("Plain", {}, "mine.model has no value and Plain needs one: add +mine.model=… to the"),
        ("Plain", {"model": 3}, "mine.model=3 is not text."),
        ("Plain", {"model": "a", "labels": ["a", 3]}, "mine.labels (1)"),
        ("Plain", {"model": "a", "given": 3}, "mine.given: Unknown setting of Plain 'given'."),
        ("Open", {}, "mine.model has no value and Open needs one"),
        ("Open", {"model": 7, "anything": 3}, "mine.model=7 is not text."),
        ("Untyped", {"model": "a", "sizes": 3}, "mine.sizes: Unknown setting of Untyped 'sizes'."),
        ("WithSettings", {"size": "a"}, "mine.size='a' is not a whole number."),
        (
            "WithSettings",
            {"size": 3, "prompts": 3},
            "mine.prompts: Unknown setting of WithSettings",
        ),
        ("WithSettings", {"kind": "small"}, "mine.size has no value and WithSettings needs one"),
        (
            "WithSettings",
            {"size": 3, "derived": 3},
            "mine.derived: Unknown setting of WithSettings",
        ),
        ("WithSettings", {"size": 1, "kind": "big"}, "Unknown mine.kind 'big'."),
        ("function", {"size": 3, "names": ["a"]}, "mine.names: Unknown setting of function"),
        ("Nothing", {}, f"mine._target_={HERE}.Nothing cannot be imported: "),
    ],
)
def test_a_component_of_anybody_s_is_held_to_what_its_target_takes(
    name: str, settings: dict[str, Any], said: str
) -> None:
    component = Component(f"{HERE}.{name}", settings)
    assert refused(lambda: check_component(component, "mine")).startswith(said)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Plain", {"model": "a", "size": 4, "labels": None}),
        ("Open", {"model": "a", "anything": [1, "b"]}),
        ("Untyped", {"model": 3}),
        ("Unresolved", {"teacher": 3, "size": "of any type"}),
        ("WithSettings", {"size": 3, "shares": {"a": 0.5}}),
        ("function", {"size": 3}),
    ],
)
def test_a_component_with_what_its_target_takes_is_let_through(
    name: str, settings: dict[str, Any]
) -> None:
    check_component(Component(f"{HERE}.{name}", settings), "mine")


def test_what_the_run_adds_is_not_the_configuration_s_to_set() -> None:
    whole = Component(f"{HERE}.Plain", {"model": "a"})
    check_component(Component(f"{HERE}.Plain", {}), "mine", given=("model",))
    with pytest.raises(UnknownSetting, match=r"mine\.model: Unknown setting of Plain 'model'\."):
        check_component(whole, "mine", given=("model",))
    # What it adds only where the configuration does not may be set.
    check_component(Component(f"{HERE}.Plain", {}), "mine", defaults=("model",))
    check_component(whole, "mine", defaults=("model",))
    with pytest.raises(ConfigError, match=r"mine\.model=3 is not text"):
        check_component(Component(f"{HERE}.Plain", {"model": 3}), "mine", defaults=("model",))


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("no_such_module.Thing", "No module named 'no_such_module'"),
        ("pathlib.Pth", "module 'pathlib' has no attribute 'Pth'"),
        ("Thing", "Empty module name"),
        ("", "Empty module name"),
    ],
)
def test_a_target_that_cannot_be_imported_says_why_and_where_to_put_it(
    target: str, cause: str
) -> None:
    said = refused(lambda: locate(target, "loss"))
    assert said.startswith(f"loss._target_={target} cannot be imported: {cause}")
    assert "in a folder that PYTHONPATH names" in said
    assert locate("pathlib.Path", "loss") is Path


def test_a_target_of_another_package_is_held_to_its_own_signature() -> None:
    timer = "pytorch_lightning.callbacks.Timer"
    check_component(
        Component(timer, {"duration": "00:00:10:00", "interval": "step"}), "callbacks.t"
    )
    said = refused(lambda: check_component(Component(timer, {"durtion": 3}), "callbacks.t"))
    assert said.startswith("callbacks.t.durtion: Unknown setting of Timer 'durtion'. Did you mean")
    said = refused(lambda: check_component(Component(timer, {"verbose": "no"}), "callbacks.t"))
    assert said == "callbacks.t.verbose='no' is not true or false."
