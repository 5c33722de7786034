"""A small classification task for method tests: labels, a scripted teacher, a context, EvoKD."""

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
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.methods.base import MethodContext
from tutelage.methods.evokd.method import EvoKD
from tutelage.records import Example, Feedback, Growth, Label, Outcome
from tutelage.selectors.acceptance import AcceptSelector, LabelAgreement
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Chat, GenerateRequest, Prompt, Request, ScoreRequest, Teacher
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
    # Only Hydra resolves a defaults list.
    return {str(key): value for key, value in values.items() if key != "defaults"}


def shipped(group: str, name: str) -> dict[str, Any]:
    """The values of a shipped option, as a copy."""
    return deepcopy(_read(CONF / group / f"{name}.yaml"))


def prompt_set(name: str = "completion_classification", **changes: Any) -> PromptSet:
    """A shipped prompt set: "completion_ner", "chat_classification", …"""
    way, task = name.split("_")
    values = {**shipped("prompt", "auto"), **shipped("prompt/templates", task), "way": way}
    return PromptSet(
        **{key: value for key, value in {**values, **changes}.items() if key != "_target_"}
    )


class WordTeacher(ScriptedTeacher):
    """A scripted teacher whose tokens are whole words, numbered in order of appearance."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self._numbers: dict[str, int] = {}

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        # The reply to a chat begins behind the name of its author.
        whole = [
            f"{text} [assistant]" if isinstance(text, Chat) and not text.is_prefilled else str(text)
            for text in texts
        ]
        return [
            [self._numbers.setdefault(word, len(self._numbers)) for word in text.split()]
            for text in whole
        ]

    def generations(self) -> list[GenerateRequest]:
        """The generation requests so far, without analyses."""
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


def make_text(name: str, seed: int) -> str:
    """A text of a class, different for each seed."""
    rng = random.Random(f"{name} {seed}")
    return f"{name.lower()} {' '.join(rng.choices(WORDS, k=7))} {seed % 997}"


def requested_label(prompt: str) -> str:
    """The class requested by a generation prompt: the first one described in it.

    A report of the student, with all classes, comes before "Examples of".
    """
    prompt = prompt[max(prompt.rfind("Examples of "), 0) :]
    indices = {
        label.name: prompt.find(label.description)
        for label in LABELS
        if label.description in prompt
    }
    return min(indices, key=indices.__getitem__)


def scored_text(prompt: str) -> str:
    """The text to label in a scoring prompt."""
    return next(
        line for line in reversed(prompt.splitlines()) if line.startswith("Text: ")
    ).removeprefix("Text: ")


def obliging(request: Request) -> str | list[float]:
    """Writes a text of the requested class; labels a text by its first word."""
    if isinstance(request, ScoreRequest):
        first = scored_text(request.prompt).split()[0]
        return [-0.1 if label.name.lower() == first else -4.0 for label in LABELS]
    if request.id == "analysis":
        return f" {ANALYSIS}.\n"
    return " " + make_text(requested_label(request.prompt), request.seed)


@dataclass
class RecordedProgress:
    """Phases and replies reported by a method."""

    phases: list[tuple[str, int]] = field(default_factory=list)
    replies: list[Any] = field(default_factory=list)


SHOTS = tuple(
    Example(f"shot-{name}-{n}", make_text(name, 5000 + n), name) for name in NAMES for n in range(2)
)
DEV = tuple(
    Example(f"dev-{name}-{n}", make_text(name, 6000 + n), name) for name in NAMES for n in range(2)
)


def refuse_view(*_: object) -> Any:
    """Stands in for ``view_pool`` where a method must not query the student."""
    raise AssertionError("the method queried the student")


def context(
    folder: Path,
    teacher: ScriptedTeacher | None,
    *,
    seed: int = 1,
    recorded: RecordedProgress | None = None,
    **changes: Any,
) -> MethodContext:
    """A method's context over a new (or reopened) pool in ``folder``."""
    progress = recorded or RecordedProgress()
    given: dict[str, Any] = {
        "task": TASK,
        "pool": Pool.open(folder / "rows.jsonl"),
        "shots": SHOTS,
        "unlabelled": (),
        "dev": DEV,
        "held_out": tuple(("dev", example.text) for example in DEV),
        "seed": seed,
        "teacher": teacher,
        "on_phase": lambda name, count: progress.phases.append((name, count)),
        "on_reply": progress.replies.append,
        "view_pool": refuse_view,
        "predict": refuse_view,
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
    """The settings of conf/method/evokd.yaml, with small numbers and ``changes``."""
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

    build = changes.pop("build", evokd)
    prompts = changes.pop("prompts", None) or prompt_set()
    allow_codes = bool(changes.pop("allow_codes", True))

    def labeller(task: Task, teacher: Teacher, demonstrations: Sequence[Example]) -> TextLabeller:
        return TextLabeller(
            teacher,
            task.labels,
            prompts,
            demonstrations,
            calibrator or NoCalibration(),
            allow_codes,
        )

    made: EvoKD = build(
        prompts=prompts,
        acceptance=acceptance or LabelAgreement(),
        new_labeller=labeller,
        **evokd_settings(**changes),
    )
    return made


def relative_settings(name: str, **changes: Any) -> dict[str, Any]:
    """What conf/method/NAME.yaml changes of EvoKD's settings, with small numbers."""
    own = {key: value for key, value in shipped("method", name).items() if key != "_target_"}
    return {**own, **SMALL, **changes}


def outcome(name: str, predicted: str, number: int, confidence: float = 0.8) -> Outcome:
    """A student's prediction for one text of class ``name``."""
    rest = (1 - confidence) / (len(NAMES) - 1)
    return Outcome(
        f"out-{name}-{predicted}-{number}", make_text(name, 7000 + number), name, predicted,
        tuple(confidence if one == predicted else rest for one in NAMES), "easy", 1,
    )  # fmt: skip


def feedback(right: dict[str, int], wrong: dict[tuple[str, str], int], round: int = 0) -> Feedback:
    """Outcomes: correct ones counted by class, wrong ones by (class, predicted class)."""
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
"""Feedback of a student with a weakness in Tool."""


def grown(
    folder: Path,
    given_feedback: Feedback = MIXED,
    *,
    round: int = 1,
    seed: int = 1,
    script: Any = obliging,
    recorded: RecordedProgress | None = None,
    **changes: Any,
) -> tuple[EvoKD, WordTeacher, Growth]:
    """Grows one round; returns the method, its teacher and the growth."""
    teacher = WordTeacher(script)
    method = make_evokd(**changes)
    method.setup(context(folder, teacher, seed=seed, recorded=recorded))
    return method, teacher, method.next_rows(method.aimed_at(given_feedback), round)
