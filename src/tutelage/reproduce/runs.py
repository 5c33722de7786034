"""The runs behind claims, each once however many claims share it, and commands for them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.reproduce.claims import Claim, Paper, Scale


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run behind a claim: an arm on a data set with a seed, and its overrides."""

    arm: str
    data: str
    seed: int
    overrides: tuple[str, ...]


def sweep_name(paper: Paper, scale: Scale) -> str:
    """Names the folder of the runs, multirun_sweeps/<name>.

    A multirun of the same name finds these runs, and is found by them.
    """
    return f"reproduce-{paper.name}-{scale.name}"


def runs_of(
    paper: Paper, scale: Scale, claims: Sequence[Claim], extra: Sequence[str] = ()
) -> tuple[PlannedRun, ...]:
    """Plans the runs of ``claims``, each once, in the order of the claims.

    Args:
        paper: where the arms are defined.
        scale: seeds, data sets and shared overrides.
        claims: the claims to show.
        extra: overrides of every run; they win over the paper's own.

    Returns:
        The runs of an arm on a data set next to each other, by seed.
    """
    return tuple(
        PlannedRun(arm, data, seed, (*overrides, f"seed={seed}"))
        for arm, data, overrides in _groups(paper, scale, claims, extra)
        for seed in scale.seeds
    )


def commands(
    paper: Paper, scale: Scale, claims: Sequence[Claim], extra: Sequence[str] = ()
) -> tuple[str, ...]:
    """Multirun commands for the runs of :func:`runs_of`: one line per arm and data set."""
    seeds = f"seed={','.join(map(str, scale.seeds))}"
    name = f"sweep.name={sweep_name(paper, scale)}"
    return tuple(
        shlex.join(["tutelage", "train", "-m", *overrides, seeds, name])
        for _, _, overrides in _groups(paper, scale, claims, extra)
    )


def check_command(
    paper: Paper, scale: Scale, claims: Sequence[Claim], extra: Sequence[str] = ()
) -> str:
    """The command for the missing runs of ``claims`` and their verdicts."""
    given = ["--data", scale.folder] if scale.folder else []
    given += ["--set", *extra] if extra else []
    ids = [claim.id for claim in claims]
    return shlex.join(
        ["tutelage", "reproduce", paper.name, "--scale", scale.name, "--only", *ids, *given]
    )


def _groups(
    paper: Paper, scale: Scale, claims: Sequence[Claim], extra: Sequence[str]
) -> list[tuple[str, str, tuple[str, ...]]]:
    """Arm, data set and overrides, without the seeds."""
    wanted = dict.fromkeys(
        (arm, data)
        for claim in claims
        for data in claim.sets.get(scale.name, ())
        for arm in claim.arms
    )
    groups = []
    for arm, data in wanted:
        shared = (*scale.overrides, *scale.sets[data].overrides)
        own = (
            override.replace("{data}", data) for override in paper.arms[arm].overrides[scale.name]
        )
        groups.append((arm, data, _last_per_key((*_kept((*shared, *own), extra), *extra))))
    return groups


def _kept(overrides: Sequence[str], extra: Sequence[str]) -> list[str]:
    """Drops settings of a group for which ``extra`` chooses an option.

    They belong to the option that it replaces: ``teacher=replay`` has no ``teacher.model``.
    """
    groups = {override.partition("=")[0] for override in extra}
    return [one for one in overrides if one.partition("=")[0].rpartition(".")[0] not in groups]


def _last_per_key(overrides: Sequence[str]) -> tuple[str, ...]:
    """Drops every override with a later one of the same key."""
    return tuple({override.partition("=")[0]: override for override in overrides}.values())
