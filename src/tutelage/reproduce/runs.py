"""The runs that claims need, each once however many claims share it, and the commands that do them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.reproduce.claims import Claim, Paper, Scale


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that a claim needs: an arm on a data set with a seed, and its overrides."""

    arm: str
    data: str
    seed: int
    overrides: tuple[str, ...]


def sweep_name(paper: Paper, scale: Scale) -> str:
    """Names the folder of the runs, multirun_sweeps/<name>; a multirun of this name finds them, and they find its runs."""
    return f"reproduce-{paper.name}-{scale.name}"


def runs_of(
    paper: Paper, scale: Scale, claims: Sequence[Claim], extra: Sequence[str] = ()
) -> tuple[PlannedRun, ...]:
    """The runs of ``claims``: seed by seed within each arm and data set; ``extra`` are overrides of every one."""
    return tuple(
        PlannedRun(arm, data, seed, (*overrides, f"seed={seed}"))
        for arm, data, overrides in _groups(paper, scale, claims, extra)
        for seed in scale.seeds
    )


def commands(
    paper: Paper, scale: Scale, claims: Sequence[Claim], extra: Sequence[str] = ()
) -> tuple[str, ...]:
    """The multiruns that do the same runs, an arm and data set a line."""
    seeds = f"seed={','.join(map(str, scale.seeds))}"
    name = f"sweep.name={sweep_name(paper, scale)}"
    return tuple(
        shlex.join(["tutelage", "train", "-m", *overrides, seeds, name])
        for _, _, overrides in _groups(paper, scale, claims, extra)
    )


def check_command(
    paper: Paper, scale: Scale, claims: Sequence[Claim], extra: Sequence[str] = ()
) -> str:
    """The command that gives the verdicts on ``claims``, and does what is missing for them."""
    given = ["--set", *extra] if extra else []
    return shlex.join(
        [
            "tutelage",
            "reproduce",
            paper.name,
            "--scale",
            scale.name,
            "--only",
            *(claim.id for claim in claims),
            *given,
        ]
    )


def _groups(
    paper: Paper, scale: Scale, claims: Sequence[Claim], extra: Sequence[str]
) -> list[tuple[str, str, tuple[str, ...]]]:
    wanted = dict.fromkeys(
        (arm, data)
        for claim in claims
        for data in claim.sets.get(scale.name, ())
        for arm in claim.arms
    )
    return [
        (
            arm,
            data,
            _last_overrides(
                (
                    *scale.overrides,
                    *scale.sets[data].overrides,
                    *paper.arms[arm].overrides[scale.name],
                    *extra,
                )
            ),
        )
        for arm, data in wanted
    ]


def _last_overrides(overrides: Sequence[str]) -> tuple[str, ...]:
    """Overrides without those that a later one of the same key makes void."""
    return tuple({override.partition("=")[0]: override for override in overrides}.values())
