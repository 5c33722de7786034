"""Which runs of a sweep are one arm: those of one configuration but for its seed, named by the words of the first of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tutelage.errors import RunError
from tutelage.runs.folder import RunFolder
from tutelage.runs.manifest import NOT_HASHED

_OF_NO_ARM = (*NOT_HASHED, "seed", "name")
_OF_THE_DATA = ("name", "path")
_UNSAID = ("seed=", "data=", "data.path=", "data.name=")


@dataclass(frozen=True, slots=True)
class NamedRun:
    """What is known of a run before arms are told apart.

    Attributes:
        data: its data set.
        words: of its job, as :func:`arm_overrides` leaves them.
        configuration: as :func:`configuration_of` reads it.
    """

    data: str
    overrides: str
    configuration: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """The same for two runs of one arm on one data set."""
        return self.data, json.dumps(self.configuration, sort_keys=True, default=str)


def differing_overrides(jobs: Sequence[Sequence[str]]) -> frozenset[str]:
    """The overrides that not every job has."""
    every = set(jobs[0]).intersection(*jobs)
    return frozenset(
        override for overrides in jobs for override in overrides if override not in every
    )


def arm_overrides(overrides: Sequence[str], differing: frozenset[str]) -> str:
    """What a job's words say of its arm; "" for the one that every choice leaves as it is."""
    kept = [
        override
        for override in overrides
        if override in differing
        and override != "ablation=none"
        and not override.startswith(_UNSAID)
    ]
    # The group's name says nothing where its option does.
    return " ".join(override.removeprefix("ablation=").removeprefix("method=") for override in kept)


def configuration_of(run: RunFolder) -> dict[str, Any]:
    """A run's config.yaml without its seed, its names, where its data lie, and what does not change what it computes.

    Raises:
        RunError: the file is gone or altered.
    """
    try:
        found = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        kept = {key: value for key, value in found.items() if key not in _OF_NO_ARM}
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise RunError(
            f"{run / 'config.yaml'} cannot be read ({type(error).__name__}): it is gone or altered. Do the run again."
        ) from error
    if "data" in kept:
        kept["data"] = {
            key: value for key, value in kept["data"].items() if key not in _OF_THE_DATA
        }
    return kept


def name_arms(runs: Sequence[NamedRun]) -> tuple[str, ...]:
    """The arm of each run.

    On one data set an arm is one configuration, however it was said. Arms of several data sets are one where their words are: a data set
    brings settings of its own, so configurations cannot tell. Words that mean the same on every data set that has both are one arm, with the
    first one's name. A second configuration with the same words on a data set has a number behind them.
    """
    first: dict[tuple[str, str], str] = {}
    meant: dict[str, dict[str, str]] = {}
    for run in runs:
        first.setdefault(run.key, run.overrides)
        meant.setdefault(run.overrides, {}).setdefault(run.data, run.key[1])
    called: dict[str, str] = {}
    for overrides, by_data in meant.items():
        same = (
            other
            for other in called
            if (both := by_data.keys() & meant[other])
            and all(by_data[one] == meant[other][one] for one in both)
        )
        called[overrides] = called.get(next(same, ""), overrides)
    names: dict[tuple[str, str], str] = {}
    for key, overrides in first.items():
        taken = {name for (data, _), name in names.items() if data == key[0]}
        wanted = (
            called[overrides],
            overrides,
            *(f"{overrides} ({number})" for number in range(2, len(first) + 2)),
        )
        names[key] = next(name for name in wanted if name not in taken)
    return tuple(names[run.key] for run in runs)


def namesakes(
    runs: Sequence[NamedRun], arms: Sequence[str]
) -> Iterator[tuple[str, str, str, list[str]]]:
    """Arm, its namesake on the same data set, the data set, and the settings that differ, for arms that the same words would name."""
    firsts: dict[tuple[str, str], NamedRun] = {}
    for run, arm in zip(runs, arms, strict=True):
        if (run.data, arm) in firsts:
            continue
        firsts[run.data, arm] = run
        for (data, other), before in firsts.items():
            if data == run.data and other != arm and before.overrides == run.overrides:
                yield arm, other, data, _differing_settings(run, before)
                break


def joined(runs: Sequence[NamedRun]) -> Iterator[tuple[str, str, list[str]]]:
    """Words, the data set, and the settings that differ, where runs of one arm by its words have several configurations."""
    firsts: dict[tuple[str, str], NamedRun] = {}
    differing: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        first = firsts.setdefault((run.overrides, run.data), run)
        if settings := _differing_settings(run, first):
            differing.setdefault((run.overrides, run.data), set()).update(settings)
    for (overrides, data), settings_of_it in differing.items():
        yield overrides, data, sorted(settings_of_it)


def _differing_settings(run: NamedRun, other: NamedRun) -> list[str]:
    ours, theirs = _leaves(run.configuration), _leaves(other.configuration)
    missing = object()
    return [
        key
        for key in sorted({*ours, *theirs})
        if ours.get(key, missing) != theirs.get(key, missing)
    ]


def _leaves(node: Any, path: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    if not isinstance(node, Mapping):
        return {path: node}
    return {
        name: value
        for key, inner in node.items()
        for name, value in _leaves(inner, f"{path}.{key}".lstrip(".")).items()
    }
