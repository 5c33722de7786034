"""Which way of asking suits a teacher: tries several on labelled texts, and writes down the best.

Each way is a set of overrides: texts to continue or messages, with demonstrations or without, other
cue words or label words, and every calibration. The gold labels that decide are counted.
"""

from __future__ import annotations

import math
import random
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from tutelage.config.build import build_dataset, build_task
from tutelage.config.build_fit import gold_for
from tutelage.config.build_labeller import build_labeller
from tutelage.config.build_student import build_encoder
from tutelage.config.build_teacher import build_prompts, build_stack
from tutelage.config.compose import compose_config
from tutelage.config.schema import BudgetConfig, RunConfig
from tutelage.data.dataset import Dataset
from tutelage.errors import ConfigError, TeacherError
from tutelage.labelling.base import Draft, Nearest
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.labelling.showing import Embed, ShotChoice
from tutelage.records import Example, Label, derive_seed
from tutelage.report.teacher_alone import teacher_metrics
from tutelage.tasks.opinions import TeacherOpinion
from tutelage.tasks.protocol import Task
from tutelage.teacher.stack import Stack
from tutelage.teacher.wrappers.budget import BudgetedTeacher

if TYPE_CHECKING:
    from rich.console import Console

NAME = "tuned"
"""Name of the experiment that is written."""
CUES = ("Answer", "Label", "Category", "Topic")
"""Cue words to try before a label, besides the data set's own."""
CALIBRATIONS = ("none", "batch", "matched", "half_matched", "contextual")
"""Options of the group ``calibration`` that every way is measured with."""
_LABEL_WAY = "prompt.label_way"


@dataclass(frozen=True, slots=True)
class Way:
    """A way of asking.

    Attributes:
        title: What it is, for the table.
        settings: Its settings by key; a group's option by the group's name.
    """

    title: str
    settings: tuple[tuple[str, Any], ...]

    @property
    def overrides(self) -> list[str]:
        """The settings as command-line overrides."""
        return [f"{key}={_word(value)}" for key, value in self.settings]

    def plus(self, title: str, *settings: tuple[str, Any]) -> Way:
        """Returns the way with further settings."""
        return Way(f"{self.title}, {title}", (*self.settings, *settings))


@dataclass(frozen=True, slots=True)
class Trial:
    """The measurement of one way.

    Attributes:
        way: The way.
        calibration: The option of the group ``calibration``.
        score: The task's first headline metric over the labelled texts, in [0, 1].
        tokens: Billed tokens per text, prompt and completion.
        failed: Number of texts without an answer; they count as wrong.
    """

    way: Way
    calibration: str
    score: float
    tokens: float
    failed: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The labelled texts that decide.

    Attributes:
        examples: The texts.
        shots: The demonstrations.
        source: "dev", or "shots", each of which is labelled without itself.
    """

    examples: tuple[Example, ...]
    shots: tuple[Example, ...]
    source: Literal["dev", "shots"]

    @property
    def gold(self) -> int:
        """Number of gold labels that are used besides the shots."""
        return len(self.examples) if self.source == "dev" else 0

    def others(self, config: RunConfig, embed: Embed) -> Nearest | None:
        """Returns what finds the demonstrations of a shot: other shots, as a run would choose them.

        Args:
            config: The configuration of the run.
            embed: Returns the embeddings of texts.

        Returns:
            None if the labelling may choose by itself: for dev texts, or where it shows none.
        """
        most = config.labelling.get("max_demonstrations")
        if self.source == "dev" or most == 0:
            return None
        shots = ordered_demonstrations(self.shots, config.seed)
        own: dict[str, tuple[Example, ...]] = {}
        if most is not None:
            # One more, since a shot is most similar to itself.
            choice = config.labelling.get("demonstrations", "fixed")
            chosen = ShotChoice(shots, most + 1, choice, embed, config.seed)
            texts = [shot.text for shot in shots]
            own = dict(zip(texts, chosen(texts), strict=True))

        def nearest(text: str) -> Sequence[Example]:
            found = [shot for shot in own.get(text, shots) if shot.text != text]
            return found if most is None else found[-most:]

        return nearest


def tune_prompt(
    overrides: Sequence[str],
    *,
    on: Literal["auto", "dev", "shots"] = "auto",
    texts: int = 60,
    tries: Sequence[str] = (),
    output: Path = Path(NAME),
) -> int:
    """Tries ways of asking, prints a table, and writes the best one as an experiment.

    Args:
        overrides: The run's overrides.
        on: Texts that decide: "dev"; "shots", each labelled with the others as demonstrations; or
            "auto", dev where there is one.
        texts: Number of dev texts at most, drawn by the run's seed.
        tries: Further settings to try on top of the best way so far, "key=value" each.
        output: Folder for experiment/tuned.yaml, to be given as ``--config-dir``.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: There are no labelled texts, or a setting is wrong.
        TeacherError: No way was answered.
    """
    from rich.console import Console

    console = Console()
    if texts < 1:
        raise ConfigError(f"--texts {texts} must be 1 or more.")
    config = compose_config(overrides)
    dataset = build_dataset(config)
    judged = _judged(config, dataset, on, texts)
    with tempfile.TemporaryDirectory() as scratch:
        stack = build_stack(replace(config, budget=BudgetConfig(None)), Path(scratch))
        try:
            stack.begin(partial(_warn, console))
            tuner = _Tuner(overrides, dataset, judged, stack, console)
            for stage in (_prompts(config, stack), _wordings(config, dataset, tries)):
                tuner.try_all(stage(tuner.best))
        finally:
            stack.close()
    best = _chosen(tuner.trials, len(judged.examples))
    _print(console, tuner.trials, best, judged, build_task(config, dataset))
    path = _write(output, best, judged)
    command = ["tutelage", "train", "--config-dir", str(output), f"experiment={NAME}", *overrides]
    console.print(f"\nwritten to {path}; use it by\n  {shlex.join(command)}", soft_wrap=True)
    return 0


def _warn(console: Console, message: str) -> None:
    from rich.markup import escape

    console.print(f"[yellow]warning[/]   {escape(message)}", highlight=False, soft_wrap=True)


def _judged(config: RunConfig, dataset: Dataset, on: str, texts: int) -> Judged:
    shots = gold_for(config, dataset)
    if on == "dev" and not dataset.dev:
        raise ConfigError("--on dev needs dev texts, and the data has none. Take --on shots.")
    if on != "shots" and dataset.dev:
        dev = list(dataset.dev)
        random.Random(derive_seed("tune-prompt", config.seed)).shuffle(dev)
        return Judged(tuple(dev[:texts]), tuple(shots), "dev")
    if len(shots) < 2:
        raise ConfigError(
            f"{len(shots)} labelled shots are too few to choose by. Give shots=2 or more with "
            "training.gold=shots, or data with dev texts."
        )
    return Judged(tuple(shots), tuple(shots), "shots")


class _Tuner:
    """Measures ways, and remembers all trials."""

    def __init__(
        self,
        overrides: Sequence[str],
        dataset: Dataset,
        judged: Judged,
        stack: Stack,
        console: Console,
    ) -> None:
        self._overrides = list(overrides)
        self._dataset = dataset
        self._judged = judged
        self._stack = stack
        self._console = console
        self._embed = build_encoder(compose_config(self._overrides))
        self.trials: list[Trial] = []

    @property
    def best(self) -> Way:
        """The best way so far; the configuration as it is before the first trial."""
        if not self.trials:
            return Way("", ())
        return _chosen(self.trials, len(self._judged.examples)).way

    def try_all(self, ways: Sequence[Way]) -> None:
        """Measures each way under every calibration."""
        for way in ways:
            for calibration in CALIBRATIONS:
                try:
                    self.trials.append(self._measured(way, calibration))
                except (ConfigError, TeacherError) as error:
                    _warn(self._console, f"{way.title}, calibration={calibration}: {error}")
                    break

    def _measured(self, way: Way, calibration: str) -> Trial:
        config = compose_config([*self._overrides, *way.overrides, f"calibration={calibration}"])
        dataset = replace(self._dataset, labels=build_dataset(config).labels)
        found = ask(config, dataset, self._judged, self._stack, self._embed)
        return Trial(way, calibration, found.score, found.tokens, found.failed)


@dataclass(frozen=True, slots=True)
class Answers:
    """What a teacher answered about labelled texts.

    Attributes:
        task: The task.
        opinions: The teacher's opinions, in the order of the texts.
        tokens: Billed tokens per text, prompt and completion.
        failed: Number of texts without an answer; they count as wrong.
    """

    task: Task
    opinions: tuple[TeacherOpinion, ...]
    tokens: float
    failed: int

    @property
    def score(self) -> float:
        """The task's first headline metric, in [0, 1]."""
        return self.score_of(range(len(self.opinions)))

    def score_of(self, texts: Iterable[int]) -> float:
        """The same over some of the texts, by their indices."""
        opinions = [self.opinions[index] for index in texts]
        return float(teacher_metrics(self.task, opinions)[self.task.headline_metrics[0].key])


def ask(config: RunConfig, dataset: Dataset, judged: Judged, stack: Stack, embed: Embed) -> Answers:
    """Lets a teacher label texts in the way that a configuration says.

    Args:
        config: The configuration; its teacher is not built.
        dataset: The data set, with the label words of the configuration.
        judged: The texts and the demonstrations.
        stack: The teacher, which has begun.
        embed: Returns the embeddings of texts.

    Returns:
        The answers, with the tokens that they cost.

    Raises:
        ConfigError: The labels cannot be told apart.
        TeacherError: No text was answered.
    """
    task = build_task(config, dataset)
    counted = BudgetedTeacher(stack.inner)
    labeller = build_labeller(
        config,
        build_prompts(config, stack.engine, stack.inner),
        task,
        counted,
        ordered_demonstrations(judged.shots, config.seed),
        judged.others(config, embed),
        embed,
    )
    labeller.fit((), None)
    labelled = labeller.label([Draft(example.text) for example in judged.examples])
    opinions = [
        task.read_opinion(
            task.opinion_record(example, opinion, labelled.errors.get(index, "no reply"))
        )
        for index, (example, opinion) in enumerate(
            zip(judged.examples, labelled.opinions, strict=True)
        )
    ]
    tokens = counted.usage.billed / len(judged.examples)
    return Answers(task, tuple(opinions), tokens, len(labelled.errors))


Stage = Callable[[Way], list[Way]]


def _prompts(config: RunConfig, stack: Stack) -> Stage:
    """Texts to continue and messages, with demonstrations and without."""
    bare = ("labelling.max_demonstrations", 0)

    def ways(_: Way) -> list[Way]:
        # Labels decide, so texts and analyses keep their own way.
        found = [Way("completion", ((_LABEL_WAY, "completion"),))]
        if _has_chat(stack):
            chat = Way("chat", ((_LABEL_WAY, "chat"),))
            found += [chat, chat.plus("shots in one message", ("prompt.shots", "message"))]
        # Labellers of entities always show some.
        if bare[0].partition(".")[2] in config.labelling.settings:
            found += [way.plus("no shots", bare) for way in found[:2]]
        return found

    return ways


def _has_chat(stack: Stack) -> bool:
    """Whether the teacher can be asked in messages at all, however small it is."""
    from tutelage.teacher.base import Chat, Message

    try:
        return bool(stack.engine.tokenize([Chat((Message("user", "?"),))])[0])
    except (ConfigError, TeacherError):
        return bool(getattr(stack.engine, "speaks_chat", False))


def _wordings(config: RunConfig, dataset: Dataset, tries: Sequence[str]) -> Stage:
    """Other cues, the labels' names as their words, and what the user wants tried."""

    def ways(best: Way) -> list[Way]:
        found = []
        own = str(config.source["data"].get("cue", ""))
        if (_LABEL_WAY, "completion") in best.settings and own:
            found += [best.plus(f"cue {cue}", ("data.cue", cue)) for cue in CUES if cue != own]
        if names := tuple(_named(dataset.labels)):
            found.append(best.plus("names as words", *names))
        for one in tries:
            key, equals, value = one.partition("=")
            if not equals:
                raise ConfigError(f"--try {one} needs a setting and a value: --try key=value.")
            found.append(best.plus(one, (key, yaml.safe_load(value))))
        return found

    return ways


def _named(labels: Sequence[Label]) -> Iterator[tuple[str, str]]:
    """Yields settings that make the name of each label its word, where that is another one."""
    import re

    words = {}
    for label in labels:
        parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", label.name)
        words[label.name] = " ".join(parts).lower()
    plain = all(re.fullmatch(r"\w+", label.name) for label in labels)
    if plain and all(words.values()) and len(set(words.values())) == len(words):
        for label in labels:
            if words[label.name] != label.word:
                yield f"data.labels.{label.name}.word", words[label.name]


def _error(score: float, count: int) -> float:
    """Standard error of a share of ``count`` texts."""
    return math.sqrt(max(score * (1 - score), 1 / count) / count)


def _chosen(trials: Sequence[Trial], count: int) -> Trial:
    """Returns the cheapest way within half a standard error of the best score.

    Raises:
        TeacherError: There is none.
    """
    if not trials:
        raise TeacherError(
            "No way of asking was answered; the warnings above say why. See what the teacher can "
            "do with `tutelage doctor`, and what is asked with `tutelage plan`."
        )
    top = max(trial.score for trial in trials)
    near = [trial for trial in trials if trial.score >= top - _error(top, count) / 2]
    return min(near, key=lambda trial: (round(trial.tokens), -trial.score))


def _print(
    console: Console, trials: Sequence[Trial], best: Trial, judged: Judged, task: Task
) -> None:
    from rich.table import Table

    count = len(judged.examples)
    metric = task.headline_metrics[0].title
    table = Table(title=f"{metric} on {count} {judged.source} texts, % (standard error)")
    table.add_column("way of asking")
    for name in CALIBRATIONS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("tokens\nper label", justify="right", no_wrap=True)
    for way in dict.fromkeys(trial.way for trial in trials):
        own = {trial.calibration: trial for trial in trials if trial.way == way}
        cells = [_cell(own.get(name), best, count) for name in CALIBRATIONS]
        first = next(iter(own.values()))
        table.add_row(way.title, *cells, f"{first.tokens:.0f}")
    console.print(table)
    gold = f"{judged.gold} dev labels" if judged.gold else f"the {count} shots, each without itself"
    console.print(
        f"chosen: {best.way.title}, calibration={best.calibration}: "
        f"{100 * best.score:.0f} % at {best.tokens:.0f} tokens per label\n"
        f"gold labels used: {gold}",
        highlight=False,
        soft_wrap=True,
    )


def _cell(trial: Trial | None, best: Trial, count: int) -> str:
    if trial is None:
        return "-"
    text = f"{100 * trial.score:.0f} ({100 * _error(trial.score, count):.0f})"
    failed = f", {trial.failed} failed" if trial.failed else ""
    return f"[bold]{text}{failed}[/bold]" if trial == best else f"{text}{failed}"


def _write(output: Path, best: Trial, judged: Judged) -> Path:
    """Writes the choice as a file of Hydra's group ``experiment``."""
    groups = {key: value for key, value in best.way.settings if "." not in key}
    values: dict[str, Any] = {}
    for key, value in best.way.settings:
        if "." in key:
            _put(values, key.split("."), value)
    if judged.gold:
        _put(values, ["prompt", "tuned_on"], judged.gold)
    defaults = [{f"override /{key}": value} for key, value in groups.items()]
    defaults.append({"override /calibration": best.calibration})
    path = output / "experiment" / f"{NAME}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "# @package _global_\n"
        "# The way of asking that `tutelage tune-prompt` chose.\n"
        f"#   tutelage train --config-dir {shlex.quote(str(output))} experiment={NAME}\n"
        + yaml.safe_dump({"defaults": defaults, **values}, sort_keys=False, allow_unicode=True),
        encoding="utf-8",
    )
    return path


def _put(values: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
    values[keys[-1]] = value


def _word(value: Any) -> str:
    """Returns a value as an override of Hydra takes it."""
    if isinstance(value, str) and not value.isidentifier():
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)
