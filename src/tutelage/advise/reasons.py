"""Why a recipe is advised, what it costs and what to expect of it, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from tutelage.advise.case import Case
from tutelage.advise.layout import INDENT, capital, count, print_line
from tutelage.advise.price import Price
from tutelage.measurements import (
    GOLD,
    NEAR,
    TEACHER,
    Choice,
    Recipe,
    Situation,
    Study,
    measurements,
    teacher_alone,
)


def reasons(situation: Situation, choice: Choice) -> Iterator[str]:
    """Yields the sentences that say what the choice rests on."""
    study, recipe = choice.study, choice.recipe
    assert study is not None
    assert recipe is not None
    rows = study.of(recipe.key)
    seeds = sorted({len(row.scores) for row in rows.values()})
    fewest = f"{seeds[0]} to " if len(seeds) > 1 else ""
    yield (
        f"Measured with {study.teacher} at {count(study.shots, 'shot')}, "
        f"{count(len(rows), 'set')}, {fewest}{count(seeds[-1], 'seed')} "
        f"({study.metric} on test)."
    )
    yield _compared(choice)
    gains = dict(choice.passed_over)
    for better in choice.too_dear:
        title, more = capital(better.title), -gains[better]
        yield f"{title} takes more than your budget; it has {more} points."
    if other := _differences(situation, study):
        yield f"Your case differs: {other}."


def _compared(choice: Choice) -> str:
    """Says how far the choice is from the shots alone, and from the best of the others."""
    gains = dict(choice.passed_over)
    dear = {recipe.key for recipe in choice.too_dear}
    rivals = [one for one in gains if one.asks_teacher and one.key not in dear]
    nearest = min(rivals, key=lambda one: gains[one].points, default=None)
    if choice.recipe is not None and not choice.recipe.asks_teacher:
        if nearest is None or dear:
            return ""
        return (
            f"No recipe with the teacher is measurably above it; {nearest.title} comes nearest: "
            f"{-gains[nearest]}."
        )
    parts = [f"{gain} over the shots alone" for one, gain in gains.items() if not one.asks_teacher]
    if nearest is not None:
        level = gains[nearest].low <= 0 <= gains[nearest].high
        parts.append(f"{'level with' if level else 'above'} {nearest.title}: {gains[nearest]}")
    return f"Points gained (95 % interval): {'; '.join(parts)}." if parts else ""


def _differences(situation: Situation, study: Study) -> str:
    """Names what the study does not share with the situation."""
    found = []
    ratio = situation.millions / study.millions if situation.millions else 0.0
    if ratio > NEAR or 0 < ratio < 1 / NEAR:
        size = "larger" if ratio > 1 else "smaller"
        found.append(f"the teacher is {max(ratio, 1 / ratio):.0f} times {size}")
    if situation.shots != study.shots:
        found.append(f"{count(situation.shots, 'shot')} instead of {study.shots}")
    if situation.pool and not study.pool:
        found.append("it has a pool, and none was measured with such a teacher")
    return ", ".join(found)


def cost_in_words(case: Case, study: Study, cost: Price | None, recipe: Recipe) -> str:
    """Says what the run takes: tokens, and time where a rate was measured."""
    if not recipe.asks_teacher:
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


def print_expected(console: Console, case: Case, recipe: Recipe, study: Study) -> None:
    """Prints what the recipe reached on the sets that were measured, similar ones first."""
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
    print_line(
        console,
        "expect",
        f"{study.metric} on test in %, as measured with {study.teacher}."
        f"{_labels_right(case, study)}",
    )
    console.print(Padding(table, (0, 0, 0, INDENT), expand=False))


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
            f"{count(its.shots, 'shot')} and {row.mean:.0f} % at {mine.shots}."
        )
    return (
        f" The labels of {its.teacher} alone are {other.mean:.0f} % right on the mean of six sets "
        f"({count(its.shots, 'shot')}); those of {mine.teacher}, the nearest to yours, "
        f"{row.mean:.0f} % ({count(mine.shots, 'shot')})."
    )
