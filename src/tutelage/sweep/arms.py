"""Groups the runs of a sweep into arms.

The runs of an arm share one configuration, apart from the seed and the data set. An arm is named by
the overrides of its first job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tutelage.errors import RunError
from tutelage.runs.folder import RunFolder
from tutelage.runs.manifest import NOT_HASHED

_IGNORED = (*NOT_HASHED, "seed", "name")
"""Top-level keys without any influence on the arm of a run."""
_IGNORED_OF_DATA = ("name", "path")
_NOT_IN_NAME = ("seed=", "data=", "data.path=", "data.name=")
_PREFIXES = ("ablation=", "method=", "experiment=")
"""Groups whose option is clear without the group's name."""


@dataclass(frozen=True, slots=True)
class NamedRun:
    """A run before it has an arm.

    Attributes:
        data: Its data set.
        overrides: Those of its job, shortened by :func:`arm_overrides`.
        configuration: As :func:`configuration_of` reads it.
    """

    data: str
    overrides: str
    configuration: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Equal for two runs of one arm on one data set."""
        return self.data, json.dumps(self.configuration, sort_keys=True, default=str)


def differing_overrides(jobs: Sequence[Sequence[str]]) -> frozenset[str]:
    """The overrides of some jobs, but not of all."""
    common = set(jobs[0]).intersection(*jobs)
    return frozenset(
        override for overrides in jobs for override in overrides if override not in common
    )


def arm_overrides(overrides: Sequence[str], differing: frozenset[str]) -> str:
    """Names an arm by the differing overrides of a job, without seed and data.

    Returns:
        "" for a job with every choice at its default.
    """
    kept = [
        override
        for override in overrides
        if override in differing
        and override != "ablation=none"
        and not override.startswith(_NOT_IN_NAME)
    ]
    for prefix in _PREFIXES:
        kept = [override.removeprefix(prefix) for override in kept]
    return " ".join(kept)


def configuration_of(run: RunFolder) -> dict[str, Any]:
    """Reads the part of a run's config.yaml behind its results.

    Seed, names, the path of the data and settings without any effect on the results are left out.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        found = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        kept = {key: value for key, value in found.items() if key not in _IGNORED}
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise RunError(
            f"{run / 'config.yaml'} cannot be read ({type(error).__name__}): it is missing or "
            "damaged. Do the run again."
        ) from error
    if "data" in kept:
        kept["data"] = {
            key: value for key, value in kept["data"].items() if key not in _IGNORED_OF_DATA
        }
    return kept


def name_arms(runs: Sequence[NamedRun]) -> tuple[str, ...]:
    """Names the arm of each run.

    On one data set an arm is one configuration, however its overrides are spelt. Across data sets
    an arm is one list of overrides, because data sets bring settings of their own and
    configurations cannot be compared. Two lists with the same configuration on every common data
    set are one arm, with the name of the first. A second configuration with the same overrides on a
    data set gets a number.

    Args:
        runs: The runs of a sweep, in the order of their jobs.

    Returns:
        One name per run.
    """
    # The first overrides of each configuration, and the configuration of each list of overrides.
    first: dict[tuple[str, str], str] = {}
    configurations: dict[str, dict[str, str]] = {}
    for run in runs:
        first.setdefault(run.key, run.overrides)
        configurations.setdefault(run.overrides, {}).setdefault(run.data, run.key[1])

    # Different spellings of one arm share a name.
    common: dict[str, str] = {}
    for overrides, by_data in configurations.items():
        same = (
            other
            for other in common
            if (both := by_data.keys() & configurations[other])
            and all(by_data[one] == configurations[other][one] for one in both)
        )
        common[overrides] = common.get(next(same, ""), overrides)

    # A name is used once per data set.
    names: dict[tuple[str, str], str] = {}
    for key, overrides in first.items():
        taken = {name for (data, _), name in names.items() if data == key[0]}
        wanted = (
            common[overrides],
            overrides,
            *(f"{overrides} ({number})" for number in range(2, len(first) + 2)),
        )
        names[key] = next(name for name in wanted if name not in taken)
    return tuple(names[run.key] for run in runs)


def namesakes(
    runs: Sequence[NamedRun], arms: Sequence[str]
) -> Iterator[tuple[str, str, str, list[str]]]:
    """Finds arms with the same overrides but different configurations on one data set.

    Yields:
        The arm, the other arm with its overrides, the data set and the differing settings.
    """
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
    """Finds overrides whose runs have several configurations on one data set.

    Yields:
        The overrides, the data set and the differing settings.
    """
    firsts: dict[tuple[str, str], NamedRun] = {}
    differing: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        first = firsts.setdefault((run.overrides, run.data), run)
        if settings := _differing_settings(run, first):
            differing.setdefault((run.overrides, run.data), set()).update(settings)
    for (overrides, data), names in differing.items():
        yield overrides, data, sorted(names)


def _differing_settings(run: NamedRun, other: NamedRun) -> list[str]:
    ours, theirs = _leaves(run.configuration), _leaves(other.configuration)
    missing = object()
    return [
        key
        for key in sorted({*ours, *theirs})
        if ours.get(key, missing) != theirs.get(key, missing)
    ]


def _leaves(node: Any, path: str = "") -> dict[str, Any]:
    """The settings of nested mappings by their dotted names."""
    if not isinstance(node, Mapping):
        return {path: node}
    return {
        name: value
        for key, inner in node.items()
        for name, value in _leaves(inner, f"{path}.{key}".lstrip(".")).items()
    }
