"""What both cards say of a run: its teacher, its data, its settings, and how to repeat it."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from tutelage.assets import EMBEDDED, LARGER
from tutelage.errors import ConfigError
from tutelage.report.markdown import public
from tutelage.runs.read import Run

SOURCES = {
    "gold": "from the data set, with its label",
    "class_name": "word or description of a class, from the configuration",
    "init": "made from a labelled text by changing or rewriting it",
    "easy": "written by the teacher",
    "hard": "written by the teacher, aimed at mistakes of the student",
    "pool": "from the unlabelled pool, labelled by the teacher",
}
"""What a card says of the rows of a source."""
SELF_LABELLED = "from the unlabelled pool, labelled by the student itself"
"""The same of the pool's texts, where the student labelled them."""
WRITTEN = frozenset({"easy", "hard"})
"""Sources of texts that the teacher wrote without a text of the data set to change."""
_SAMPLES = Path(__file__).parents[1] / "data" / "samples"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+\Z")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}\Z")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})?\Z")


@dataclass(frozen=True, slots=True)
class CardOptions:
    """What a user says about a card.

    Attributes:
        license: Licence in the hub's spelling, such as "apache-2.0"; "other" if nothing is known.
        language: Code of the texts' language, such as "de"; "" if it is not known.
    """

    license: str = "other"
    language: str = ""

    def __post_init__(self) -> None:
        """Check both.

        Raises:
            ConfigError: One has another form.
        """
        if not _LICENSE.match(self.license):
            raise ConfigError(
                f"--license {self.license!r} is no licence of the hub. Give one in its spelling, "
                "such as --license apache-2.0."
            )
        if self.language and not _LANGUAGE.match(self.language):
            raise ConfigError(
                f"--language {self.language!r} is no code of a language. Give two or three small "
                "letters, such as --language de."
            )


@dataclass(frozen=True, slots=True)
class TeacherFacts:
    """The teacher of a run.

    Attributes:
        model: Its id, or the name of its folder.
        hub_id: Its id on the hub; "" if it is not known.
        licence: Its licence; "" if it is not known.
        engine: What ran it.
        way: How it was asked.
        calibration: Kind of calibration.
        others: Ids of further teachers.
    """

    model: str
    hub_id: str
    licence: str
    engine: str
    way: str
    calibration: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The data set of a run.

    Attributes:
        name: Its name.
        hub_id: Its id on the hub; "" if it does not come from there.
        licence: Its licence; "" if it is not known.
        language: Code of its language; "" if it is not known.
        spoken: The language that the teacher was told to write in; "" for none.
        splits: Number of texts of each split.
    """

    name: str
    hub_id: str
    licence: str
    language: str
    spoken: str
    splits: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of a run.

    Attributes:
        digest: First 16 hex digits of the SHA-256 of their settings; "" if they are not known.
        templates: Names of the templates.
    """

    digest: str
    templates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceLine:
    """The rows of one source.

    Attributes:
        source: Its name.
        meaning: What it means.
        accepted: Rows that the student learnt from.
        rejected: The others.
    """

    source: str
    meaning: str
    accepted: int
    rejected: int


def card_settings(run: Run) -> dict[str, Any]:
    """Return config.yaml as data; empty if it cannot be read."""
    try:
        found = yaml.safe_load(run.config)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def part(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a group of settings; empty if there is none."""
    found = settings.get(name)
    return found if isinstance(found, Mapping) else {}


def model_name(model: str) -> str:
    """Return the id of a model, or the name of its folder."""
    is_path = model.startswith(("/", ".", "~")) or "\\" in model or model.count("/") > 1
    return public(PurePath(model.replace("\\", "/")).name if is_path else model)


def hub_id(model: str) -> str:
    """Return a model's id on the hub; "" if it is a folder, or not known."""
    if asset := LARGER.get(model):
        return asset.hub_id
    known = _HUB_ID.match(model) and not Path(model).exists() and public(model) == model
    return model if known else ""


def teacher_facts(run: Run) -> TeacherFacts | None:
    """Return a run's teacher; None for a run whose method asked none."""
    if not run.result.get("requests") and not any(
        (row.distribution or row.entity_confidence or row.source in WRITTEN) and not row.by_student
        for row in run.rows
    ):
        return None
    teacher = run.manifest.get("teacher") or {}
    model = str(teacher.get("model") or "")
    asset = EMBEDDED["teacher"] if model == "embedded" else LARGER.get(model)
    others = teacher.get("others")
    return TeacherFacts(
        model=asset.name if asset else model_name(model),
        hub_id=asset.hub_id if asset else hub_id(model),
        licence=asset.licence if asset else "",
        engine=str(teacher.get("engine") or ""),
        way=str(teacher.get("prompt") or ""),
        calibration=str(teacher.get("calibration") or ""),
        others=tuple(
            model_name(str(one.get("model") or name))
            for name, one in (others.items() if isinstance(others, Mapping) else ())
            if isinstance(one, Mapping)
        ),
    )


def data_facts(run: Run, settings: Mapping[str, Any], options: CardOptions) -> DataFacts:
    """Return a run's data set."""
    data = run.manifest.get("data") or {}
    node, target = part(settings, "data"), str(part(settings, "data").get("_target_") or "")
    name = str(data.get("name") or "")
    shipped = target.endswith(".load_sample") and name in {one.name for one in _SAMPLES.iterdir()}
    spoken = part(settings, "prompt").get("language")
    told = spoken if isinstance(spoken, str) else ""
    known = told if _LANGUAGE.match(told) else "en" if shipped else ""
    return DataFacts(
        name=model_name(name),
        hub_id=hub_id(str(node.get("name") or "")) if target.endswith(".load_hub") else "",
        licence=_licence_of(_SAMPLES / name / "SOURCE.md") if shipped else "",
        language=options.language or known,
        spoken=told,
        splits=tuple(
            (split, int(data[split])) for split in ("pool", "dev", "test") if data.get(split)
        ),
    )


def _licence_of(file: Path) -> str:
    found = re.search(r"^- Licence: (.*?)[.;]?$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return re.split(r" \(|\. ", found[1])[0] if found else ""


def prompts_of(settings: Mapping[str, Any]) -> Prompts:
    """Return the hash of a run's prompts, and the names of its templates."""
    prompt = part(settings, "prompt")
    if not prompt:
        return Prompts("", ())
    text = json.dumps(prompt, sort_keys=True, ensure_ascii=False, default=str)
    names = [str(name) for way in ("completion", "chat") for name in part(prompt, way)]
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Prompts(digest, tuple(dict.fromkeys(names)))


def source_lines(run: Run) -> tuple[SourceLine, ...]:
    """Return the rows of the pool by source."""
    accepted = Counter[str](row.source for row in run.rows if row.accepted)
    rejected = Counter[str](row.source for row in run.rows if not row.accepted)
    meanings = {**SOURCES, "pool": SELF_LABELLED} if run.self_labelled else SOURCES
    order = [*SOURCES, *sorted({*accepted, *rejected} - {*SOURCES})]
    return tuple(
        SourceLine(one, meanings.get(one, ""), accepted[one], rejected[one])
        for one in order
        if one in accepted or one in rejected
    )


_TOKENS = ("billed", "billed_prompt", "billed_completion")
"""Counts of tokens that a run without a teacher lacks."""


def common_facts(run: Run, options: CardOptions) -> dict[str, Any]:
    """Return the values that the templates of both cards share."""
    settings = card_settings(run)
    result, manifest = run.result, run.manifest
    packages = manifest.get("packages") or {}
    return {
        "run": run,
        "name": public(manifest.get("name") or run.folder.resolve().name),
        "is_ner": run.task.is_token_level,
        "wording": run.task.wording,
        "manifest": {"seed": None, **manifest},
        "options": options,
        "teacher": teacher_facts(run),
        "data": data_facts(run, settings, options),
        "prompts": prompts_of(settings),
        "sources": source_lines(run),
        "self_labelled": run.self_labelled,
        "wrote": any(row.accepted and row.source in WRITTEN for row in run.rows),
        "tokens": {**dict.fromkeys(_TOKENS, 0), **(result.get("tokens") or {})},
        "gold": {name: count for name, count in _gold(run).items() if count},
        "warnings": [str(one) for one in result.get("warnings") or ()],
        "versions": [
            (name, str(packages[name])) for name in ("torch", "transformers") if packages.get(name)
        ],
        "devices": _devices(manifest.get("hardware")),
        "command": public_command(str(manifest.get("command") or "")),
        "settings": settings,
    }


def _devices(hardware: Any) -> int:
    """Return the number of devices the student was trained on; 1 where it was not recorded."""
    found = hardware.get("student_devices") if isinstance(hardware, dict) else None
    return found if isinstance(found, int) else 1


def public_command(command: str) -> str:
    """Return a command without the folders of this machine: of a path only the last part stays."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    return shlex.join(_public_word(word) for word in words)


def _public_word(word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and value.startswith(("/", "~", "./", "../")):
        return f"{name}={PurePath(value).name}"
    return public(word)


def _gold(run: Run) -> Mapping[str, int]:
    return run.result.get("gold_labels") or run.manifest.get("gold_labels") or {}
