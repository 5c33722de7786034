"""Which method to run on given data, teacher and budget: ``tutelage advise``.

It reads the data and the teacher's files without starting an engine, and chooses by what was
measured (:mod:`tutelage.measurements`).
"""

from __future__ import annotations

import re
import shlex
import statistics
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.assets import find_asset
from tutelage.config.build import (
    build_dataset,
    build_method,
    build_stack,
    settle_prompts,
)
from tutelage.config.compose import compose_config
from tutelage.config.schema import BudgetConfig, RunConfig
from tutelage.data.dataset import Dataset
from tutelage.errors import ConfigError, DataError, TeacherError
from tutelage.measurements import (
    GOLD,
    MIN_POOL,
    TEACHER,
    Choice,
    Recipe,
    Situation,
    Study,
    choose,
    measurements,
    teacher_alone,
)
from tutelage.methods.base import Plannable, TeacherMethod, evenly
from tutelage.plan import context_without_student
from tutelage.tasks.registry import row_reader
from tutelage.teacher.base import GenerateRequest, Request
from tutelage.teacher.engines.model_files import parameters, resolve_model
from tutelage.teacher.stack import Stack
from tutelage.teacher.wrappers.routing import others_of

if TYPE_CHECKING:
    from rich.console import Console

_SAMPLED = 16
"""Requests of each kind whose prompts are counted."""
_ENOUGH = 10
"""Gold labels per class from which the pool's own labels deserve a mention."""
_NEAR = 2.0
"""Factor of size or shots from which a measurement counts as one of another situation."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", flags=re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TeacherFacts:
    """What can be told of a teacher without starting its engine.

    Attributes:
        name: The model, recording or address.
        millions: Its number of parameters, in millions; 0 if not known.
        chat: Whether it is asked in messages; None if not known.
        on_cpu: Whether its engine is vLLM on a CPU, whose rates were measured.
        error: Why it cannot be asked; None if nothing speaks against it.
    """

    name: str
    millions: float
    chat: bool | None = None
    on_cpu: bool = False
    error: TeacherError | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """The estimated cost of a run.

    Attributes:
        tokens: Billed tokens.
        labels: Number of texts that the teacher labels, of a pool; 0 where it writes them.
        requests: Number of teacher requests.
        label_tokens: Billed tokens per labelled text, of a pool.
    """

    tokens: int
    labels: int
    requests: int
    label_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """Data, teacher and configuration of a piece of advice.

    Attributes:
        overrides: The user's overrides, with a number of shots that the data have.
        config: Their configuration.
        dataset: The data.
        situation: What counts for the choice.
        teacher: The teacher.
        stack: The teacher to count tokens by; None if it cannot be asked.
    """

    overrides: tuple[str, ...]
    config: RunConfig
    dataset: Dataset
    situation: Situation
    teacher: TeacherFacts
    stack: Stack | None


def advise(overrides: Sequence[str]) -> int:
    """Prints which recipe suits data, teacher and budget, why, at what cost, and what to expect.

    Args:
        overrides: A run's overrides without a method: data, shots, teacher, budget.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: An override is wrong, or chooses the method.
        DataError: The data cannot be read.
        TeacherError: The teacher cannot be asked; the advice is printed before.
    """
    from rich.console import Console

    console = Console(highlight=False)
    given = [one.lstrip("+").partition("=")[0] for one in overrides]
    if chosen := {"method", "experiment"} & {*given}:
        raise ConfigError(
            f"tutelage advise chooses the method itself: leave {min(chosen)}=… out, or see what "
            "that run costs with `tutelage plan`."
        )
    config = compose_config(overrides)
    dataset = build_dataset(config)
    shots = _shots(dataset, config)
    if shots != config.shots:
        overrides = [*(one for one in overrides if one.split("=")[0] != "shots"), f"shots={shots}"]
        config = compose_config(overrides)
    with tempfile.TemporaryDirectory() as scratch, _teacher(config, Path(scratch)) as found:
        teacher, stack = found
        situation = Situation(
            dataset.kind, shots, len(dataset.pool), len(dataset.dev), teacher.millions
        )
        case = Case(tuple(overrides), config, dataset, situation, teacher, stack)
        _print_facts(console, case)
        _print_advice(console, case, Path(scratch))
    if teacher.error is not None:
        raise teacher.error
    return 0


def _shots(dataset: Dataset, config: RunConfig) -> int:
    """Returns the shots per class that are asked for, or as many as the data have."""
    for shots in range(config.shots, 0, -1):
        try:
            dataset.shots(shots, config.seed)
        except DataError:
            continue
        return shots
    return 0


@contextmanager
def _teacher(config: RunConfig, folder: Path) -> Iterator[tuple[TeacherFacts, Stack | None]]:
    """Opens the teacher as far as it goes without an engine, and says what it is."""
    model = str(config.teacher.get("model") or config.teacher.get("recording") or "")
    name = model or str(config.teacher.get("url") or config.hydra.choices["teacher"])
    if model == "embedded":
        name = find_asset("teacher").name
    size = _size(model)
    stack: Stack | None = None
    try:
        stack = build_stack(replace(config, budget=BudgetConfig(None)), folder)
        stack.begin(lambda _: None)
        stack.inner.tokenize(["text"])
        hardware = getattr(stack.engine, "hardware", None)
        facts = TeacherFacts(
            name,
            size,
            bool(getattr(stack.engine, "speaks_chat", False)),
            getattr(hardware, "device", "") == "cpu",
        )
        opened: Stack | None = stack
    except TeacherError as error:
        facts, opened = TeacherFacts(name, size, error=error), None
    try:
        yield facts, opened
    finally:
        if stack is not None:
            stack.close()


def _size(model: str) -> float:
    """Returns a model's parameters in millions, by its weights or else its name; 0 if unknown."""
    try:
        if count := parameters(resolve_model(model)):
            return count / 1e6
    except TeacherError:
        pass
    found = _SIZE.findall(model.rpartition("/")[2])
    return max((float(n) * (1000 if unit in "bB" else 1) for n, unit in found), default=0.0)


def price(case: Case, settings: Sequence[str], folder: Path) -> Price:
    """Estimates the cost of a run from the prompts that it would send, without asking any.

    A text that is written counts with as many tokens as it may have at most.

    Args:
        case: The case, whose teacher can be asked.
        settings: Overrides of the run besides the user's.
        folder: An empty or existing folder for the run's rows.
    """
    assert case.stack is not None
    config = compose_config([*settings, *case.overrides])
    method = build_method(config)
    if not (isinstance(method, Plannable) and method.asks_teacher):
        return Price(0, 0, 0)
    if isinstance(method, TeacherMethod):
        settle_prompts(method.prompts, case.stack.engine, case.stack.inner)
    method.setup(context_without_student(config, case.dataset, case.stack, folder))
    before = method.preparation() if isinstance(method, TeacherMethod) else {}
    once = sum(
        statistics.mean(_tokens(case.stack, evenly(own, _SAMPLED))) * len(own)
        for own in before.values()
    )
    tokens = {
        kind: statistics.mean(_tokens(case.stack, requests))
        for kind, requests in method.sample_requests(_SAMPLED).items()
    }
    counts = {kind: count for kind, count in method.requests_a_round().items() if kind in tokens}
    total = sum(tokens[kind] * count for kind, count in counts.items())
    rounds = method.rounds or 1
    if "first" not in config.method.settings:
        # The budget ends a run that writes before its last round.
        limit = config.budget.tokens
        if limit is not None:
            rounds = min(rounds, int(max(limit - once, 0) // max(total, 1)))
        requests = sum(counts.values()) * rounds + sum(map(len, before.values()))
        return Price(round(total * rounds + once), 0, requests)
    largest, labels = _pool_labels(config, len(case.dataset.pool))
    share = labels / max(largest, 1)
    return Price(
        round(total * share + once),
        labels,
        round(sum(counts.values()) * share) + sum(map(len, before.values())),
        total / max(largest, 1),
    )


def _tokens(stack: Stack, requests: Sequence[Request]) -> list[int]:
    """Returns the billed tokens of each request: a score is one completion token."""
    others = others_of(stack.inner)
    prompts = [
        (others[one.teacher].teacher if one.teacher else stack.inner).tokenize([one.prompt])[0]
        for one in requests
    ]
    return [
        len(prompt) + (request.granted.max_tokens if isinstance(request, GenerateRequest) else 1)
        for prompt, request in zip(prompts, requests, strict=True)
    ]


def _pool_labels(config: RunConfig, pool: int) -> tuple[int, int]:
    """Returns the pool texts labelled in the largest round, and in the whole run."""
    get = config.method.get
    texts = min(pool, get("pool_size") or pool)
    first = texts if get("first") is None else min(texts, int(get("first")))
    later = int(get("n_texts") or 0) if get("rounds") else 0
    return max(first, later), min(texts, first + later * int(get("rounds") or 0))


def _settings(study: Study, recipe: Recipe, overrides: Sequence[str]) -> list[str]:
    """Returns the overrides of a recipe as it was measured, where the user gives no other value."""
    given = {one.partition("=")[0] for one in overrides}
    return [
        one
        for one in (*recipe.overrides, *study.settings.get(recipe.key, ()))
        if one.partition("=")[0] not in given
    ]


def _print_facts(console: Console, case: Case) -> None:
    dataset, shots = case.dataset, case.situation.shots
    kind = "entity types" if dataset.kind == "ner" else "classes"
    per = "type" if dataset.kind == "ner" else "class"
    _line(
        console,
        "data",
        f"{dataset.name}: {len(dataset.labels)} {kind}, {_count(shots, 'shot')} per {per}, "
        f"{len(dataset.pool):,} pool texts, {len(dataset.dev):,} dev, {len(dataset.test):,} test"
        + _lengths(dataset),
    )
    teacher = case.teacher
    parts = [teacher.name, _size_in_words(teacher.millions)]
    if teacher.error is not None:
        parts.append("cannot be asked (the reason is below)")
    elif teacher.chat is not None:
        parts.append("an instruct model" if teacher.chat else "asked by texts to continue")
    _line(console, "teacher", ", ".join(parts))
    limit = case.config.budget.tokens
    _line(console, "budget", "none" if limit is None else f"{limit:,} billed tokens")
    for note in _notes(case):
        _line(console, "note", note)
    console.print()


def _line(console: Console, name: str, text: str) -> None:
    """Prints a paragraph behind its name, with every line indented."""
    from rich.markup import escape

    wrapped = textwrap.fill(text, console.width - 10, break_on_hyphens=False)
    indented = textwrap.indent(wrapped, " " * 10)[10:]
    console.print(f"[bold]{name:<10}[/bold]{escape(indented)}", soft_wrap=True)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _size_in_words(millions: float) -> str:
    if not millions:
        return "size unknown"
    if millions < 1000:
        return f"{millions:.0f} million parameters"
    return f"{millions / 1000:.1f} billion parameters"


def _words(dataset: Dataset) -> list[int]:
    texts = dataset.pool or dataset.dev or dataset.given_shots
    return sorted(len(example.text.split()) for example in texts)


def _lengths(dataset: Dataset) -> str:
    words = _words(dataset)
    if not words:
        return ""
    typical, long = statistics.median(words), words[-len(words) // 10]
    return f"; {typical:.0f} words a text, one in ten has {long:,} or more"


def _notes(case: Case) -> Iterator[str]:
    """Yields what a user should know of the data before any method."""
    dataset, config = case.dataset, case.config
    gold = len(dataset.pool_gold)
    if gold >= _ENOUGH * len(dataset.labels) and gold > case.situation.shots * len(dataset.labels):
        yield (
            f"{gold:,} pool texts have labels, which the advice leaves aside. `tutelage train "
            "method=supervised` learns from them, without a teacher."
        )
    if dataset.kind != "ner" and dataset.dev:
        reader = row_reader(dataset.kind)
        counts = Counter(
            name for one in dataset.dev if one.label for name in reader.classes(one.label)
        )
        even = 1 / len(dataset.labels)
        shares = [counts[label.name] / max(1, counts.total()) for label in dataset.labels]
        if max(shares) >= min(0.75, 3 * even) or min(shares) < even / 4:
            # An instruct model's labels of two classes follow the pool's own shares.
            follows = case.teacher.chat and len(dataset.labels) == 2
            yield (
                f"The classes are uneven: {100 * max(shares):.0f} % of dev has the most frequent "
                f"one, {100 * min(shares):.1f} % the rarest."
                + (
                    ""
                    if follows
                    else " The teacher's labels are calibrated for equal shares: give "
                    "calibration.prior={NAME: SHARE} where you know them."
                )
            )
    words = _words(dataset)
    # A word of English is 1.3 sub-tokens on average.
    longest = 1.3 * words[-len(words) // 10] if words else 0
    if longest > config.student.max_length:
        yield (
            f"More than one text in ten is longer than student.max_length="
            f"{config.student.max_length} sub-tokens, which is all that the student reads."
        )


def _print_advice(console: Console, case: Case, folder: Path) -> None:
    prices: dict[str, Price] = {}
    table = measurements()
    basis = choose(table, case.situation)
    limit = case.config.budget.tokens

    def priced(recipe: Recipe) -> Price:
        if recipe.key not in prices:
            assert basis.study is not None
            settings = _settings(basis.study, recipe, case.overrides)
            prices[recipe.key] = price(case, settings, folder)
        return prices[recipe.key]

    def affordable(recipe: Recipe) -> bool:
        if limit is None:
            return True
        if case.stack is None:
            assert basis.study is not None
            return "pool" not in recipe.needs or basis.study.price(recipe.key) <= limit
        cost = priced(recipe)
        # A run that writes ends with its budget, so one round is enough.
        return cost.tokens <= limit if cost.labels else cost.requests > 0 or not _asks(recipe)

    choice = choose(table, case.situation, affordable)
    if choice.study is None:
        _print_unmeasured(console, case)
        return
    if choice.recipe is None:
        cheapest = min(priced(one).tokens for one in _usable(case.situation, choice.study))
        _line(
            console,
            "advice",
            f"budget.tokens={limit} covers no recipe that was measured. The cheapest takes about "
            f"{cheapest:,} tokens.",
        )
        return
    recipe, study = choice.recipe, choice.study
    settings = _settings(study, recipe, case.overrides)
    _line(console, "advice", f"{_capital(recipe.title)}. {recipe.does}")
    _line(console, "why", " ".join(filter(None, _reasons(case.situation, choice))))
    cost = priced(recipe) if case.stack else None
    _line(console, "cost", _cost(case, study, cost, recipe))
    _print_expected(console, case, recipe, study)
    command = shlex.join(["tutelage", "train", *case.overrides, *settings])
    console.print(f"\n[bold]run it[/bold]\n  {_escaped(command)}", soft_wrap=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _asks(recipe: Recipe) -> bool:
    return recipe.key != "shots"


def _usable(situation: Situation, study: Study) -> list[Recipe]:
    recipes = [measurements().recipes[key] for key in study.recipes]
    return [recipe for recipe in recipes if situation.has(recipe)]


def _print_unmeasured(console: Console, case: Case) -> None:
    """Says what can start where no measurement says what is best."""
    kind, unit = ("entities", "type") if case.situation.task == "ner" else ("classes", "class")
    has_pool = case.situation.pool >= MIN_POOL
    lack = "shots" if has_pool else "shots and without a pool"
    settings = ["method=llkd" if has_pool else "method=zerogen"]
    _line(
        console,
        "advice",
        f"No measurement covers {kind} without {lack}. Label one text per {unit} first (a file "
        "shots, shots=1): that opens the methods that were measured. The command below starts "
        "without labels.",
    )
    command = shlex.join(["tutelage", "train", *case.overrides, *settings])
    console.print(f"\n[bold]run it[/bold]\n  {_escaped(command)}", soft_wrap=True)


def _reasons(situation: Situation, choice: Choice) -> Iterator[str]:
    """Yields the sentences that say what the choice rests on."""
    study, recipe = choice.study, choice.recipe
    assert study is not None
    assert recipe is not None
    rows = study.of(recipe.key)
    seeds = sorted({len(row.scores) for row in rows.values()})
    fewest = f"{seeds[0]} to " if len(seeds) > 1 else ""
    yield (
        f"Measured with {study.teacher} at {_count(study.shots, 'shot')}, "
        f"{_count(len(rows), 'set')}, {fewest}{_count(seeds[-1], 'seed')} "
        f"({study.metric} on test)."
    )
    yield _compared(choice)
    gains = dict(choice.passed_over)
    for better in choice.too_dear:
        title, more = _capital(better.title), -gains[better]
        yield f"{title} takes more than your budget; it has {more} points."
    if other := _differences(situation, study):
        yield f"Your case differs: {other}."


def _compared(choice: Choice) -> str:
    """Says how far the choice is from the shots alone, and from the best of the others."""
    gains = dict(choice.passed_over)
    dear = {recipe.key for recipe in choice.too_dear}
    rivals = [one for one in gains if one.key != "shots" and one.key not in dear]
    nearest = min(rivals, key=lambda one: gains[one].points, default=None)
    if choice.recipe is not None and not _asks(choice.recipe):
        if nearest is None or dear:
            return ""
        return (
            f"No recipe with the teacher is measurably above it; {nearest.title} comes nearest: "
            f"{-gains[nearest]}."
        )
    parts = [f"{gain} over the shots alone" for one, gain in gains.items() if one.key == "shots"]
    if nearest is not None:
        level = gains[nearest].low <= 0 <= gains[nearest].high
        parts.append(f"{'level with' if level else 'above'} {nearest.title}: {gains[nearest]}")
    return f"Points gained (95 % interval): {'; '.join(parts)}." if parts else ""


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _differences(situation: Situation, study: Study) -> str:
    """Names what the study does not share with the situation."""
    found = []
    ratio = situation.millions / study.millions if situation.millions else 0.0
    if ratio > _NEAR or 0 < ratio < 1 / _NEAR:
        size = "larger" if ratio > 1 else "smaller"
        found.append(f"the teacher is {max(ratio, 1 / ratio):.0f} times {size}")
    if situation.shots != study.shots:
        found.append(f"{_count(situation.shots, 'shot')} instead of {study.shots}")
    if situation.pool and not study.pool:
        found.append("it has a pool, and none was measured for this task")
    return ", ".join(found)


def _cost(case: Case, study: Study, cost: Price | None, recipe: Recipe) -> str:
    """Says what the run takes: tokens, and time where a rate was measured."""
    if not _asks(recipe):
        return "no token."
    if cost is None:
        tokens = study.price(recipe.key)
        return f"about {tokens:,.0f} tokens in the measured runs; yours cannot be counted."
    parts = [f"about {cost.tokens:,} billed tokens"]
    if cost.labels:
        parts = [
            f"{cost.labels:,} labels at about {cost.label_tokens:,.0f} tokens: {cost.tokens:,}"
        ]
    rates = measurements().rates
    near = [
        rate
        for millions, rate in rates.items()
        if case.teacher.millions and abs(millions / case.teacher.millions - 1) < 0.1
    ]
    if near and case.teacher.on_cpu and cost.labels:
        minutes = cost.requests / near[0] / 60
        parts.append(f"about {minutes:.0f} min of teacher time on two cores, for short texts")
    elif study.minutes:
        parts.append(f"the measured runs took {study.minutes} min on two cores")
    return "; ".join(parts) + ". `tutelage plan` with the settings below measures it."


def _print_expected(console: Console, case: Case, recipe: Recipe, study: Study) -> None:
    """Prints what the recipe reached on the sets that were measured, similar ones first."""
    from rich.padding import Padding
    from rich.table import Table

    rows = study.of(recipe.key)
    columns = {"shots": "shots", recipe.key: recipe.title, TEACHER: "teacher", GOLD: "all gold"}
    columns = {key: title for key, title in columns.items() if study.of(key)}
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("")
    table.add_column("classes", justify="right")
    for title in columns.values():
        table.add_column(title, justify="right", max_width=20)
    table.add_column("tokens", justify="right")
    classes = len(case.dataset.labels)
    for row in sorted(rows.values(), key=lambda one: abs(one.classes - classes)):
        cells = [study.of(key).get(row.set) for key in columns]
        table.add_row(
            row.set,
            str(row.classes),
            *(f"{cell.mean:.1f}" if cell else "" for cell in cells),
            f"{row.tokens:,}" if row.tokens is not None else "",
        )
    _line(
        console,
        "expect",
        f"{study.metric} on test in %, as measured with {study.teacher}."
        f"{_labels_right(case, study)}",
    )
    console.print(Padding(table, (0, 0, 0, 10), expand=False))


def _labels_right(case: Case, study: Study) -> str:
    """Says how well this teacher labels beside the one that was measured, where both are known."""
    situation = case.situation
    measured = replace(situation, shots=study.shots, millions=study.millions)
    ours, theirs = (teacher_alone(measurements(), one) for one in (situation, measured))
    if not situation.millions or ours is None or theirs is None or ours == theirs:
        return ""
    (mine, row), (its, other) = ours, theirs
    if mine.teacher == its.teacher:
        return (
            f" On the mean of six sets its labels are {other.mean:.0f} % right at "
            f"{_count(its.shots, 'shot')} and {row.mean:.0f} % at {mine.shots}."
        )
    return (
        f" The labels of {its.teacher} alone are {other.mean:.0f} % right on the mean of six sets "
        f"({_count(its.shots, 'shot')}); those of {mine.teacher}, the nearest to yours, "
        f"{row.mean:.0f} % ({_count(mine.shots, 'shot')})."
    )
