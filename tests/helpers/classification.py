"""A label space, a teacher of a few words and a ground for methods: everything small, and nothing random but by seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from tests.helpers.doubles import Script, ScriptedTeacher

from tutelage.data.pool import Pool
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.scoring import TextLabeller
from tutelage.methods.base import MethodContext
from tutelage.methods.evokd.method import EvoKD
from tutelage.records import Example, Feedback, Growth, Label, Outcome
from tutelage.selectors.acceptance import AcceptSelector, LabelAgreement
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import GenerateRequest, Request, ScoreRequest, Teacher
from tutelage.teacher.prompts import PromptSet

CONF = Path(__file__).parents[2] / "conf"
LABELS = (
    Label("Animal", "animal", "questions about an animal"),
    Label("Tool", "tool", "requests to borrow a tool"),
    Label("Food", "food", "orders of some food"),
)
NAMES = tuple(label.name for label in LABELS)
TASK = ClassificationTask(LABELS)
ANALYSIS = "cannot tell a hammer from a hamster"
WORDS = [
    "amber",
    "birch",
    "cedar",
    "dune",
    "ember",
    "fjord",
    "grove",
    "heath",
    "islet",
    "jetty",
    "knoll",
    "ledge",
    "marsh",
    "north",
    "oasis",
    "pier",
    "quay",
    "ridge",
    "shore",
    "tide",
    "vale",
    "wharf",
]


def _plain(path: Path) -> dict[str, Any]:
    values = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(values, dict)
    return {key: values[key] for key in ("genre", "leads")}


@cache
def _read(path: Path) -> dict[str, Any]:
    # A prompt set takes three values from the data set.
    data = {"cue": "Answer", **_plain(CONF / "data" / "wikigold.yaml")}
    values = OmegaConf.to_container(OmegaConf.merge({"data": data}, OmegaConf.load(path)))
    assert isinstance(values, dict)
    values = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    assert isinstance(values, dict)
    if path.parent.name != "data":
        values.pop("data")
    # What a file builds on is Hydra's business.
    return {str(key): value for key, value in values.items() if key != "defaults"}


def shipped(group: str, name: str) -> dict[str, Any]:
    """The values of a shipped option, read once."""
    return deepcopy(_read(CONF / group / f"{name}.yaml"))


def prompt_set(name: str = "completion_classification", **changes: Any) -> PromptSet:
    """A shipped prompt set."""
    return PromptSet(
        **{
            key: value
            for key, value in {**shipped("prompt", name), **changes}.items()
            if key != "_target_"
        }
    )


class WordTeacher(ScriptedTeacher):
    """Its tokens are whole words, numbered as they come."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self._numbers: dict[str, int] = {}

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [
            [self._numbers.setdefault(word, len(self._numbers)) for word in text.split()]
            for text in texts
        ]

    def generations(self) -> list[GenerateRequest]:
        """The generation requests so far, the analysis left out."""
        return [
            request
            for request in self.asked
            if isinstance(request, GenerateRequest) and request.id != "analysis"
        ]

    def analyses(self) -> list[GenerateRequest]:
        return [
            request
            for request in self.asked
            if isinstance(request, GenerateRequest) and request.id == "analysis"
        ]

    def scorings(self) -> list[ScoreRequest]:
        return [request for request in self.asked if isinstance(request, ScoreRequest)]


def a_text(name: str, seed: int) -> str:
    """A text of a class, unlike every other."""
    rng = random.Random(f"{name} {seed}")
    return f"{name.lower()} {' '.join(rng.choices(WORDS, k=7))} {seed % 997}"


def asked_label(prompt: str) -> str:
    """The class that a generation prompt asks for: the first one that it describes."""
    indices = {
        label.name: prompt.find(label.description)
        for label in LABELS
        if label.description in prompt
    }
    return min(indices, key=indices.__getitem__)


def scored_text(prompt: str) -> str:
    """The text that a scoring prompt asks about."""
    return next(
        line for line in reversed(prompt.splitlines()) if line.startswith("Text: ")
    ).removeprefix("Text: ")


def obliging(request: Request) -> str | list[float]:
    """Write a text of the class asked for; label a text by the class that its first word names."""
    if isinstance(request, ScoreRequest):
        first = scored_text(request.prompt).split()[0]
        return [-0.1 if label.name.lower() == first else -4.0 for label in LABELS]
    if request.id == "analysis":
        return f" {ANALYSIS}.\n"
    return " " + a_text(asked_label(request.prompt), request.seed)


@dataclass
class Heard:
    """What a ground was told."""

    phases: list[tuple[str, int]] = field(default_factory=list)
    replies: list[Any] = field(default_factory=list)


SHOTS = tuple(
    Example(f"shot-{name}-{n}", a_text(name, 5000 + n), name) for name in NAMES for n in range(2)
)
DEV = tuple(
    Example(f"dev-{name}-{n}", a_text(name, 6000 + n), name) for name in NAMES for n in range(2)
)


def not_looked(*_: object) -> Any:
    """The sight of a ground whose method has no business to look at a student."""
    raise AssertionError("the student was looked at")


def context(
    folder: Path,
    teacher: ScriptedTeacher | None,
    *,
    seed: int = 1,
    heard: Heard | None = None,
    **changes: Any,
) -> MethodContext:
    """A ground over an empty (or reopened) pool in ``folder``."""
    ear = heard or Heard()
    given: dict[str, Any] = {
        "task": TASK,
        "pool": Pool.open(folder / "rows.jsonl"),
        "shots": SHOTS,
        "unlabelled": (),
        "dev": DEV,
        "held_out": tuple(("dev", example.text) for example in DEV),
        "seed": seed,
        "teacher": teacher,
        "on_phase": lambda name, count: ear.phases.append((name, count)),
        "on_reply": ear.replies.append,
        "view_pool": not_looked,
    }
    return MethodContext(**{**given, **changes})


SMALL = {
    "rounds": 3,
    "n_hard": 6,
    "n_easy": 6,
    "n_wrong": 4,
    "n_correct": 4,
    "n_init": 0,
    "demonstrations": 2,
    "focus": 0.5,
    "mistake_margin": 0.3,
    "styles": {},
}


def evokd_settings(**changes: Any) -> dict[str, Any]:
    """The flat settings of conf/method/evokd.yaml, small, with ``changes``."""
    kept = {
        key: value
        for key, value in shipped("method", "evokd").items()
        if key not in ("_target_", "training", "allow_codes")
    }
    return {**kept, **SMALL, **changes}


def make_evokd(
    acceptance: AcceptSelector | None = None, calibrator: Any = None, **changes: Any
) -> EvoKD:
    from tests.helpers.methods import evokd

    prompts, allow_codes = prompt_set(), bool(changes.pop("allow_codes", True))

    def labeller(task: Task, teacher: Teacher, demonstrations: Sequence[Example]) -> TextLabeller:
        return TextLabeller(
            teacher,
            task.labels,
            prompts,
            demonstrations,
            calibrator or NoCalibration(),
            allow_codes,
        )

    return evokd(
        prompts=prompts,
        acceptance=acceptance or LabelAgreement(),
        new_labeller=labeller,
        **evokd_settings(**changes),
    )


def outcome(name: str, predicted: str, number: int, sure: float = 0.8) -> Outcome:
    """What a student made of one text of ``name``."""
    rest = (1 - sure) / (len(NAMES) - 1)
    return Outcome(
        f"out-{name}-{predicted}-{number}", a_text(name, 7000 + number), name, predicted,
        tuple(sure if one == predicted else rest for one in NAMES), "easy", 1,
    )  # fmt: skip


def feedback(right: dict[str, int], wrong: dict[tuple[str, str], int], round: int = 0) -> Feedback:
    """Outcomes counted by class, and by (class, what it was taken for)."""
    outcomes = [outcome(name, name, n) for name, count in right.items() for n in range(count)]
    outcomes += [
        outcome(name, taken, 100 + n, 0.6 + 0.05 * n)
        for (name, taken), count in wrong.items()
        for n in range(count)
    ]
    return Feedback(round, tuple(outcomes), TASK.scores(outcomes))


MIXED = feedback(
    {"Animal": 6, "Food": 6, "Tool": 1}, {("Tool", "Animal"): 4, ("Animal", "Tool"): 1}
)
"""A student that is weak on Tool."""


def grown(
    folder: Path,
    given_feedback: Feedback = MIXED,
    *,
    round: int = 1,
    seed: int = 1,
    script: Any = obliging,
    heard: Heard | None = None,
    **changes: Any,
) -> tuple[EvoKD, WordTeacher, Growth]:
    """A method that grew one round."""
    teacher = WordTeacher(script)
    method = make_evokd(**changes)
    method.setup(context(folder, teacher, seed=seed, heard=heard))
    return method, teacher, method.next_rows(method.aimed_at(given_feedback), round)
