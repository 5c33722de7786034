"""Settings, options, files and verbs that the documents name are there."""

from __future__ import annotations

import argparse
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from tests.helpers.commands import unwrapped

from tutelage.arguments import parser
from tutelage.config.folder import conf_directory

ROOT = Path(__file__).parents[2]
CONF = conf_directory()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
OLD_NAMES = ("glossary.md", "changelog.md")
"""Pages that name settings as they were."""
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
_CODE = re.compile(r"(?<!`)`(?!`)([^`]+)`(?!`)")
_SETTING = re.compile(rf"(?<![+\w.])({'|'.join(GROUPS)})\.([a-z_]+(?:\.[a-z_]+)*)(?=[=`\s,]|$)")
_OPTION = re.compile(rf"(?<![\w./@])({'|'.join(GROUPS)})=([a-z_0-9]+(?:,[a-z_0-9]+)*)(?=[`\s]|$)")
_NO_SETTINGS = {"py", "yaml", "jsonl", "md", "datamodule.pool.rows"}
"""What stands behind a group's name and a dot in names of files and attributes."""
_EXAMPLES = {
    *("density", "lead", "hard_rows", "rephrase", "dialogue", "strict", "ordered", "ratings"),
    "tuned",
    *("notes", "my_data", "neighbours"),
}
"""Options and keys that the how-to pages add."""


def keys_of(node: object, path: str = "") -> set[str]:
    if not isinstance(node, dict):
        return set()
    inner = {f"{path}.{key}".lstrip("."): value for key, value in node.items()}
    return set(inner).union(*(keys_of(value, name) for name, value in inner.items()))


@cache
def settings_of(group: str) -> frozenset[str]:
    found = (keys_of(yaml.safe_load(path.read_text())) for path in (CONF / group).rglob("*.yaml"))
    keys = set[str]().union(*found)
    return frozenset(keys | {key.removeprefix(f"{group}.") for key in keys})


def code_of(path: Path) -> list[str]:
    """The code spans of a page, and its blocks of commands."""
    text = unwrapped(path.read_text(encoding="utf-8"))
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.M | re.S)
    return [*_CODE.findall(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)), *blocks]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_and_option_that_a_page_names_exists(path: Path):
    if path.name in OLD_NAMES:
        pytest.skip("names settings of earlier versions")
    for code in code_of(path):
        for group, key in _SETTING.findall(code):
            known = settings_of(group) | _NO_SETTINGS | _EXAMPLES
            # Below teacher.engine stand vLLM's own names, below labelling.teachers the user's.
            is_open = f"{group}.{key}".startswith(("teacher.engine.", "labelling.teachers."))
            assert key in known or is_open, f"{path.name} names {group}.{key}"
        for group, names in _OPTION.findall(code):
            there = {one.stem for one in (CONF / group).glob("*.yaml")} | _EXAMPLES
            missing = set(names.split(",")) - there
            assert not missing, f"{path.name} names {group}={missing}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_of_the_repository_that_a_page_names_exists(path: Path):
    text = path.read_text(encoding="utf-8")
    rooms = "src|conf|benchmarks|examples|tests|docs"
    names = re.findall(rf"(?<![\w/.])((?:{rooms})/[\w./-]+\.\w+)", text)
    for name in names:
        if "my_data" not in name:
            assert (ROOT / name).exists(), f"{path.name} names {name}"
    # Modules by their path within the package, as the concept pages have them.
    for name in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
        roots = (ROOT, ROOT / "src" / "tutelage", ROOT / "src")
        assert any((root / name).exists() for root in roots), f"{path.name} names {name}"


def test_every_verb_and_flag_is_on_the_command_line_page():
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    (verbs,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name, verb in verbs.choices.items():
        assert f"| [`{name}`](#" in page
        for action in verb._actions:
            for flag in action.option_strings:
                assert flag in ("-h", "--help") or f"`{flag}`" in page, f"{name} {flag}"


def test_the_citation_names_the_version():
    from tutelage import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == __version__


def test_every_member_of_a_task_is_on_its_page():
    from tutelage.tasks.protocol import Task

    page = (ROOT / "docs" / "how-to" / "add-a-task.md").read_text(encoding="utf-8")
    members = [name for name in vars(Task) if not name.startswith("_")]
    assert members
    assert not [name for name in members if not re.search(rf"`{name}\b", page)]
