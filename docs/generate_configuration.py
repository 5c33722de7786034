"""Generates the configuration reference from conf/ and the docstrings that describe its keys.

MkDocs calls this file as a hook, so the page is never out of date:

    mkdocs build --strict

By hand it prints the page:

    python docs/generate_configuration.py

Each key's default is that of its YAML file. Its type and meaning come from the first source that
describes it: a field's docstring in ``tutelage.config.schema`` (groups without a ``_target_``), the
``Args:`` of the target, or the comment above the key. Nothing is imported: griffe reads the source.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import griffe
import yaml

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
PAGE = "reference/configuration.md"

GROUPS = {
    "task": "What is learnt: one label per text, or entities in a text.",
    "data": "The data set: where it is read from, and what the teacher is told about its labels.",
    "teacher": "The engine that answers prompts, with the cache of its replies.",
    "prompt": "Templates of everything that the teacher is asked.",
    "labelling": "How the teacher labels a text.",
    "calibration": "How label probabilities are corrected for the teacher's bias.",
    "method": "How the training set grows.",
    "acquire": "Stage 1: which texts of the pool the teacher labels.",
    "accept": "Stage 2: which generated texts become rows.",
    "select": "Stage 3: which rows a training step learns from, and with which weight.",
    "training": "How long each stage trains, and on which rows.",
    "student": "The encoder, its optimizer and its learning-rate schedule.",
    "loss": "The training loss.",
    "budget": "The token budget.",
    "trainer": "Keyword arguments of Lightning's `Trainer`.",
    "callbacks": "Lightning callbacks, by name.",
    "logger": "Lightning loggers and the wandb mirror, by name.",
    "evaluate": "Reference scores on test.",
    "sweep": "Named multiruns, and how a multirun treats its jobs.",
    "ablation": "One change to a method that takes one of its parts away.",
    "experiment": "Settings of several groups under one name.",
}
"""Every group in reading order, with one sentence about it."""

SCHEMAS = {
    "training": "TrainingConfig",
    "student": "StudentConfig",
    "budget": "BudgetConfig",
    "evaluate": "EvaluateConfig",
    "sweep": "SweepConfig",
}
"""Dataclasses in ``tutelage.config.schema`` of groups that have no ``_target_``."""

WRAPPERS = {"teacher": ("cache", "record")}
"""Keys of a group that the run takes instead of the target; ``RunConfig`` describes them."""

PROMPT_SET = "tutelage.teacher.prompts.PromptSet"
"""Takes the keys of conf/data that are about prompts: cue, genre, leads."""

FREE_FORM = {"labels", "templates", "strategies"}
"""Mappings whose keys are the user's own, shown as one value."""


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its path within the group, its type, default and meaning."""

    path: str
    type: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Option:
    """One file of a group.

    Attributes:
        about: the comment that opens the file, as prose.
        commands: the commands of that comment.
        target: dotted path of the class or function, "" without one.
        parents: options of the same group whose keys it takes over.
        keys: the keys that the file itself sets.
        sets: for files that set other groups: setting and value, in order.
    """

    group: str
    name: str
    about: str
    commands: tuple[str, ...]
    target: str
    parents: tuple[str, ...]
    keys: tuple[Key, ...]
    sets: tuple[tuple[str, str], ...]


@cache
def _module(name: str) -> griffe.Object:
    paths = [ROOT / "src"] if name == "tutelage" else None
    return griffe.load(
        name,
        search_paths=paths,
        docstring_parser="google",
        docstring_options={"warnings": False},
        resolve_aliases=True,
    )


def find(dotted: str) -> griffe.Object | None:
    """The class or function at a dotted path; None where griffe finds no source."""
    parts = dotted.split(".")
    # The innermost module alone: loading all of a large package takes seconds.
    starts = [1] if parts[0] == "tutelage" else range(len(parts) - 1, 0, -1)
    for cut in starts:
        try:
            found = _module(".".join(parts[:cut]))[".".join(parts[cut:])]
        except (ImportError, KeyError, griffe.GriffeError):
            continue
        return found.final_target if isinstance(found, griffe.Alias) else found
    return None


def arguments(dotted: str) -> dict[str, tuple[str, str]]:
    """Type and meaning of each argument of a target, those of its base classes included."""
    target = find(dotted)
    if target is None:
        return {}
    if not target.is_class:
        return _documented(target, target)
    found: dict[str, tuple[str, str]] = {}
    for one in [*reversed(target.mro()), target]:
        own = one.members.get("__init__", one)
        # A later source fills in what an earlier one lacks, and a subclass wins.
        for described in (_fields(one), _documented(one, own)):
            for name, (kind, meaning) in described.items():
                known = found.get(name, ("", ""))
                found[name] = (kind or known[0], meaning or known[1])
    return found


def _documented(owner: griffe.Object, function: griffe.Object) -> dict[str, tuple[str, str]]:
    """What ``Args:`` and ``Attributes:`` say, with the annotations of the signature."""
    kinds = {p.name: str(p.annotation or "") for p in getattr(function, "parameters", [])}
    meanings: dict[str, str] = {}
    for docstring in {
        id(one): one.docstring for one in (owner, function) if one.docstring
    }.values():
        for section in docstring.parsed:
            if section.kind.value in ("parameters", "attributes"):
                for entry in section.value:
                    for name in entry.name.split(","):
                        meanings[name.strip()] = entry.description
    names = [name for name in kinds if name not in ("self", "cls")]
    return {
        name: (kinds.get(name, ""), meanings.get(name, ""))
        for name in {**dict.fromkeys(names), **meanings}
    }


def _fields(owner: griffe.Object) -> dict[str, tuple[str, str]]:
    """Annotated fields of a dataclass with the docstring under each."""
    return {
        name: (str(member.annotation or ""), member.docstring.value if member.docstring else "")
        for name, member in owner.members.items()
        if member.is_attribute and member.annotation and not name.startswith("_")
    }


def settings_of(dotted: str) -> dict[str, tuple[str, str]]:
    """The settings of a target: the fields of its ``settings_type``, or its own arguments."""
    target = find(dotted)
    if target is not None and target.is_class:
        for one in (target, *target.mro()):
            if (named := one.members.get("settings_type")) is not None:
                alias = one.module.members.get(str(named.value))
                if alias is not None:
                    return arguments(alias.target_path if alias.is_alias else alias.path)
    return arguments(dotted)


def schema(name: str) -> dict[str, tuple[str, str]]:
    """Fields of a dataclass in ``tutelage.config.schema``."""
    return _fields(_module("tutelage")["config.schema"][name])


_KEY = re.compile(r"^(\s*)([\w.-]+):")


def comments(text: str) -> dict[str, str]:
    """The comment directly above each key of a YAML file, by path."""
    found: dict[str, str] = {}
    above: list[str] = []
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.strip().lstrip("#").strip())
        elif match := _KEY.match(line):
            depth = len(match[1])
            stack = [(deep, key) for deep, key in stack if deep < depth]
            stack.append((depth, match[2]))
            if above:
                found[".".join(key for _, key in stack)] = " ".join(above)
            above = []
        else:
            above = []
    return found


def opening(text: str) -> tuple[str, tuple[str, ...]]:
    """The comment that opens a file: its prose, and its commands."""
    prose: list[str] = []
    commands: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        said = line.lstrip("#")
        if said.strip().startswith("@package"):
            continue
        if said.startswith("   "):
            commands.append(said.strip())
        else:
            prose.append(said.strip())
    return " ".join(prose), tuple(commands)


def read(path: Path) -> dict[str, Any]:
    """The values of a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def parents_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Options of the same group in a file's defaults list."""
    listed = (one for one in values.get("defaults", []) if isinstance(one, str))
    # An absolute path, "/experiment/reproduce/imdb", names the group too.
    return tuple(re.sub(r"^/\w+/", "", one) for one in listed if one != "_self_")


def overridden(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Options of other groups that a file chooses."""
    chosen = []
    for one in values.get("defaults", []):
        if isinstance(one, dict):
            for key, option in one.items():
                group = key.removeprefix("override").strip().lstrip("/").partition("@")[0]
                chosen.append((group, str(option)))
    return tuple(chosen)


def inherited(group: str, name: str) -> dict[str, Any]:
    """The values of an option, those of its parents included."""
    own = read(CONF / group / f"{name}.yaml")
    merged: dict[str, Any] = {}
    for parent in parents_of(own):
        merged = {**merged, **inherited(group, parent)}
    return {**merged, **{key: value for key, value in own.items() if key != "defaults"}}


def shown(value: Any) -> str:
    """A YAML value as one short line of code."""
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        text = "[" + ", ".join(shown(one) for one in value) + "]"
        return text if len(text) < 40 else "[…]"
    if isinstance(value, str):
        return value if value and value.strip() == value else f'"{value}"'
    return str(value)


def named_type(annotation: str, value: Any) -> str:
    """An annotation in the words of YAML; the value's own type where there is none."""
    text = re.sub(r"\b(?:typing|collections\.abc)\.", "", annotation).strip("'\"")
    if not text or text in ("Any", "object"):
        kinds = {bool: "true or false", int: "integer", float: "number", str: "text"}
        kinds |= {list: "list", dict: "mapping"}
        return kinds.get(type(value), "")
    if found := re.fullmatch(r"Literal\[(.*)\]", text):
        return ", ".join(f"`{one.strip().strip(chr(39) + chr(34))}`" for one in found[1].split(","))
    if text in _OWN_WORDS:
        return _OWN_WORDS[text]
    if literal := re.fullmatch(r"[A-Z]\w+", text) and _literal(text):
        return named_type(literal, value)
    if found := re.fullmatch(r"Optional\[(.*)\]|(.*) \| None", text):
        return " or ".join(filter(None, (named_type(found[1] or found[2], value), "null")))
    if found := re.fullmatch(r"(?:Sequence|list|List|tuple|Iterable)\[(.*?)(?:, \.\.\.)?\]", text):
        return f"list of {_plural(named_type(found[1], None))}"
    if re.fullmatch(r"(?:Mapping|dict|Dict)\b.*", text):
        return "mapping"
    if found := re.fullmatch(r"Union\[(.*)\]", text):
        parts = [named_type(one.strip(), None) for one in re.split(r",(?![^\[]*\])", found[1])]
        return " or ".join(filter(None, dict.fromkeys(parts)))
    if " | " in text:
        return " or ".join(
            dict.fromkeys(named_type(one.strip(), None) for one in text.split(" | "))
        )
    plain = {"bool": "true or false", "int": "integer", "float": "number", "str": "text"}
    return plain.get(text, {"Path": "path", "None": "null"}.get(text, _named(text)))


def _named(name: str) -> str:
    """A type by its name; a private one (of Lightning's) says nothing to a reader."""
    return "" if name.startswith("_") else f"`{name}`"


_OWN_WORDS = {
    "Prior": "`uniform`, `estimated` or list of numbers",
    "LabelSettings": "list or mapping",
}
"""Types of the source whose own definition would not help a reader."""


@cache
def _literal(name: str) -> str:
    """The definition of a type such as ``Uncertainty = Literal["entropy", …]``; "" for others."""
    waiting = [_module("tutelage")]
    while waiting:
        module = waiting.pop()
        member = module.members.get(name)
        if member is not None and not member.is_alias and member.is_attribute:
            return str(member.value) if str(member.value).startswith("Literal[") else ""
        waiting += [one for one in module.members.values() if not one.is_alias and one.is_module]
    return ""


def _plural(word: str) -> str:
    return {"integer": "integers", "number": "numbers", "text": "texts"}.get(word, word)


def flat(
    values: Mapping[str, Any], path: str = "", target: str = ""
) -> Iterator[tuple[str, Any, str]]:
    """Each leaf of a mapping as path, value and the target that takes it; "" for none."""
    target = str(values.get("_target_", target))
    for key, value in values.items():
        where = f"{path}.{key}".lstrip(".")
        if key == "_target_" or (not path and key == "defaults"):
            continue
        if isinstance(value, dict) and value and key not in FREE_FORM:
            yield from flat(value, where, "" if "_target_" in value else target)
        else:
            yield where, value, target


def prose(text: str) -> str:
    """A docstring's text for a table cell: one line, code in single backticks."""
    text = re.sub(r":(?:class|func|meth|mod|data|attr):`~?([^`<]*)`", _code, text)
    text = text.replace("``", "`").replace("|", "\\|").replace("<", "&lt;")
    text = re.sub(r"\s*(?:Default|Defaults to): ?`?[^`]*`?\.?$", "", " ".join(text.split()))
    begins_with_a_word = re.match(r"(?!true\b|false\b|null\b)[a-z]+\b(?![_.=(])", text)
    return text[:1].upper() + text[1:] if begins_with_a_word else text


def _code(match: re.Match[str]) -> str:
    return f"`{match[1].rpartition('.')[2]}`"


def option(group: str, name: str) -> Option:
    """Reads one option with everything that is known about its keys."""
    path = CONF / group / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    about, commands = opening(text)
    values = read(path)
    whole = inherited(group, name)
    above = comments(text)
    target = str(whole.get("_target_", ""))
    elsewhere = "# @package" in text.split("\n", 1)[0]
    sets = [(chosen, value) for chosen, value in overridden(values)]
    keys = []
    for where, value, nested in flat(values):
        owner = nested or target
        if elsewhere and not (group == "sweep" and where.startswith("sweep.")):
            prefix = _package(text)
            sets.append((f"{prefix}{where.removeprefix('hydra.sweeper.params.')}", shown(value)))
            continue
        kind, meaning = describe(group, where, owner)
        key = where.removeprefix("sweep.") if group == "sweep" else where
        keys.append(
            Key(key, named_type(kind, value), shown(value), prose(meaning or above.get(where, "")))
        )
    return Option(
        group, name, about, commands, target, parents_of(values), tuple(keys), tuple(sets)
    )


def _package(text: str) -> str:
    package = text.split("\n", 1)[0].split("@package", 1)[1].strip()
    return "" if package == "_global_" else f"{package}."


def describe(group: str, where: str, target: str) -> tuple[str, str]:
    """Type and meaning of a key, from the docstrings."""
    first, _, rest = where.partition(".")
    leaf = where.rpartition(".")[2]
    if where in WRAPPERS.get(group, ()):
        kind, meaning = schema("RunConfig")[where]
        return kind, meaning.partition(": ")[2] or meaning
    if group == "trainer":
        found = find("pytorch_lightning.trainer.trainer.Trainer")
        known = _documented(found, found.members["__init__"]) if found else {}
        kind, meaning = known.get(where, ("", ""))
        return kind, meaning.split("\n\n")[0]
    if group in SCHEMAS and not (rest and group == "student"):
        return schema(SCHEMAS[group]).get(rest if group == "sweep" else first, ("", ""))
    known = settings_of(target) if target else {}
    if group == "data":
        known = {**arguments(PROMPT_SET), **known}
    # A key within a mapping is described by the mapping's own argument.
    return known.get(leaf) or ("", known.get(first, ("", ""))[1])


def options(group: str) -> list[Option]:
    """The options of a group, those that others build on first."""
    folder = CONF / group
    names = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
    found = [option(group, name) for name in names]
    return sorted(
        found, key=lambda one: ("/" in one.name, one.name == "none", bool(one.parents), one.name)
    )


def groups() -> list[str]:
    """The groups of conf/ in reading order."""
    there = {path.name for path in CONF.iterdir() if path.is_dir()}
    return [name for name in GROUPS if name in there] + sorted(there - set(GROUPS))


def _top_level() -> list[str]:
    fields, above = (
        schema("RunConfig"),
        comments((CONF / "config.yaml").read_text(encoding="utf-8")),
    )
    values = {
        key: value
        for key, value in read(CONF / "config.yaml").items()
        if key not in ("defaults", "hydra")
    }
    keys = [
        Key(
            key,
            named_type(fields.get(key, ("", ""))[0], value),
            shown(value),
            prose(fields.get(key, ("", ""))[1] or above.get(key, "")),
        )
        for key, value in values.items()
    ]
    return _table(keys)


def _table(keys: list[Key] | tuple[Key, ...]) -> list[str]:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{key.path}` | {key.type} | `{key.default}` | {key.meaning} |" for key in keys]
    return [*lines, ""]


def anchor(group: str, name: str) -> str:
    """The id of an option's section."""
    return f"{group}-{name.replace('/', '-')}"


def _section(one: Option) -> list[str]:
    lines = [
        f"### `{one.group}={one.name}` {{ #{anchor(one.group, one.name)} }}",
        "",
        prose(one.about),
        "",
    ]
    if one.commands:
        lines += [
            "```bash",
            *(re.sub(r"\s{3,}", "  # ", command) for command in one.commands),
            "```",
            "",
        ]
    if one.target:
        lines += [f"Target: `{one.target}`", ""]
    if one.parents:
        links = ", ".join(
            f"[`{one.group}={name}`](#{anchor(one.group, name)})" for name in one.parents
        )
        lines += [f"Every other key is as in {links}.", ""]
    if one.keys:
        lines += _table(one.keys)
    if one.sets:
        lines += [
            "| sets | to |",
            "|---|---|",
            *(f"| `{key}` | `{value}` |" for key, value in one.sets),
            "",
        ]
    return lines


def page() -> str:
    """The whole page, in Markdown."""
    lines = [
        "# Configuration",
        "",
        "Every group of `conf/`, every option of a group, and every key of an option, with its "
        "default. The page is generated from the configuration files and from the docstrings of "
        "the code that takes each key.",
        "",
        "```bash",
        "tutelage train --cfg job                        # print the composed configuration",
        "tutelage train method.rounds=4 seed=2           # change a value",
        "tutelage train data=files data.path=my_folder   # change an option of a group",
        "```",
        "",
        "A wrong group, option, key, type or value is refused before anything runs.",
        "",
        "## Top level",
        "",
        *_top_level(),
    ]
    for group in groups():
        lines += [f"## {group}", "", GROUPS.get(group, ""), ""]
        for one in options(group):
            lines += _section(one)
    return "\n".join(lines)


def on_files(files: Any, config: Any) -> Any:
    """MkDocs hook: adds the page to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=page()))
    return files


if __name__ == "__main__":
    sys.stdout.write(page())
