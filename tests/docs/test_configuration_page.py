"""The configuration reference is current, and describes every key of every option."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    path = ROOT / "docs" / "generate_configuration.py"
    spec = importlib.util.spec_from_file_location("generate_configuration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_committed_page_is_that_of_the_generator(generator: ModuleType):
    committed = (ROOT / "docs" / generator.PAGE).read_text(encoding="utf-8")
    assert committed == generator.page(), (
        "run: python docs/generate_configuration.py > docs/reference/configuration.md"
    )


def test_every_key_of_every_option_has_a_description(generator: ModuleType):
    missing = [
        f"{one.group}={one.name}: {key.path}"
        for group in generator.groups()
        for one in generator.options(group)
        for key in one.keys
        if not key.meaning
    ]
    assert not missing, f"describe {missing} in the target's Args:, or under the settings' fields"


def test_every_option_says_what_it_is_and_shows_a_command(generator: ModuleType):
    for group in generator.groups():
        assert generator.GROUPS.get(group), f"GROUPS lacks a sentence about {group}"
        for one in generator.options(group):
            assert one.about, f"{group}={one.name}"
            assert one.commands, f"{group}={one.name}"


def test_the_page_has_types_defaults_and_choices(generator: ModuleType):
    page = generator.page()
    assert "| `momentum` | number | `0.95` |" in page
    assert re.search(r"\| `combine` \| `product`, `sum`, `mix`, `none` \| `product` \|", page)
    assert re.search(r"\| `tokens` \| integer or null \| `null` \|", page)
    assert "| `method.n_easy` | `0` |" in page  # what an ablation sets
    assert "](#methodevokd)" in page  # what pgkd builds on


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        ("Literal['last', 'best']", "last", "`last`, `best`"),
        ("int | None", 3, "integer or null"),
        ("Optional[float]", None, "number or null"),
        ("Sequence[str]", [], "list of texts"),
        ("dict[str, list[str]] | None", None, "mapping or null"),
        ("Uncertainty", "entropy", "`entropy`, `least_confidence`, `margin`"),
        ("", True, "true or false"),
    ],
)
def test_types_are_written_in_the_words_of_yaml(
    generator: ModuleType, annotation: str, value: object, said: str
):
    assert generator.named_type(annotation, value) == said


def test_a_comment_describes_the_key_below_it(generator: ModuleType):
    found = generator.comments("# opening\n\n# of a\n# batch\na:\n  # inner\n  b: 1\nc: 2\n")
    assert found == {"a": "of a batch", "a.b": "inner"}
