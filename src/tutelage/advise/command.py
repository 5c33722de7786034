"""The verb ``tutelage advise``: which method to run on given data, teacher and budget.

It reads the data and the teacher's files without starting an engine, and chooses by what was
measured (:mod:`tutelage.measurements`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Console

from tutelage.advise.case import Case, open_case
from tutelage.advise.facts import print_facts
from tutelage.advise.layout import capital, print_command, print_line
from tutelage.advise.price import Prices, settings_of
from tutelage.advise.reasons import cost_in_words, print_expected, reasons
from tutelage.errors import ConfigError
from tutelage.measurements import MIN_POOL, Choice, choose, measurements, nearest_study


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
    given = [one.lstrip("+").partition("=")[0] for one in overrides]
    if chosen := {"method", "experiment"} & {*given}:
        raise ConfigError(
            f"tutelage advise chooses the method itself: leave {min(chosen)}=… out, or see what "
            "that run costs with `tutelage plan`."
        )
    console = Console(highlight=False)
    with open_case(overrides) as case:
        print_facts(console, case)
        study = nearest_study(measurements(), case.situation)
        if study is None:
            _print_unmeasured(console, case)
        else:
            prices = Prices(case, study)
            choice = choose(measurements(), case.situation, prices.covers)
            _print_advice(console, case, choice, prices)
        if case.teacher.error is not None:
            raise case.teacher.error
    return 0


def _print_advice(console: Console, case: Case, choice: Choice, prices: Prices) -> None:
    recipe, study = choice.recipe, prices.study
    if recipe is None:
        recipes = [measurements().recipes[key] for key in study.recipes]
        cheapest = min(prices.of(one).tokens for one in recipes if case.situation.has(one))
        print_line(
            console,
            "advice",
            f"budget.tokens={case.config.budget.tokens} covers no recipe that was measured. The "
            f"cheapest takes about {cheapest:,} tokens.",
        )
        return
    print_line(console, "advice", f"{capital(recipe.title)}. {recipe.does}")
    print_line(console, "why", " ".join(filter(None, reasons(case.situation, choice))))
    cost = prices.of(recipe) if case.stack else None
    print_line(console, "cost", cost_in_words(case, study, cost, recipe))
    print_expected(console, case, recipe, study)
    settings = settings_of(study, recipe, case.overrides)
    print_command(console, shlex.join(["tutelage", "train", *case.overrides, *settings]))


def _print_unmeasured(console: Console, case: Case) -> None:
    """Suggests a start for a case that was not measured."""
    kind, unit = ("entities", "type") if case.situation.task == "ner" else ("classes", "class")
    has_pool = case.situation.pool >= MIN_POOL
    lack = "shots" if has_pool else "shots and without a pool"
    method = "method=llkd" if has_pool else "method=zerogen"
    print_line(
        console,
        "advice",
        f"No measurement covers {kind} without {lack}. Label one text per {unit} first (a file "
        "shots, shots=1): that opens the methods that were measured. The command below starts "
        "without labels.",
    )
    print_command(console, shlex.join(["tutelage", "train", *case.overrides, method]))
