"""The first job and the number of jobs of a multirun, found before anything starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.config.compose import compose_config, compose_hydra
from tutelage.config.schema import RunConfig
from tutelage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Expected:
    """The jobs of a multirun.

    Attributes:
        config: Configuration of the first job, not checked against its targets.
        overrides: Overrides of the first job.
        total: Number of jobs; None if the sweeper decides as it goes.
        swept: Keys with several values.
    """

    config: RunConfig
    overrides: tuple[str, ...]
    total: int | None
    swept: frozenset[str]


def expected_jobs(overrides: Sequence[str]) -> Expected:
    """Expands the overrides of a multirun and those of its named sweep (hydra.sweeper.params).

    Args:
        overrides: As on the command line, lists included.

    Raises:
        ConfigError: An override is wrong, or the first job's configuration does not compose.
    """
    firsts, counts = _first_job(overrides)
    # The sweep alone first: another override may need its settings, the method for instance.
    named = [override for override in firsts if override.startswith(("sweep=", "hydra"))]
    params: Mapping[str, str] = (
        compose_hydra(named).hydra.sweeper.get("params") if named else None
    ) or {}
    # As in Hydra's sweeper, the command line wins over the sweep.
    of_sweep, more = _first_job(
        [f"{key}={value}" for key, value in params.items() if key not in counts]
    )
    first = (*of_sweep, *firsts)
    config = compose_config(first, import_targets=False)
    counts |= more
    grid = config.hydra.sweeper.endswith("BasicSweeper")
    total = math.prod(counts.values()) if grid else config.hydra.n_trials
    swept = frozenset(key for key, count in counts.items() if count > 1)
    return Expected(config, first, total, swept)


def _first_job(overrides: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """The overrides of the first job, and the number of values per key.

    An interval counts as two values and is left out of the first job.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    firsts: list[str] = []
    counts: dict[str, int] = {}
    parser = OverridesParser.create()
    for override in overrides:
        try:
            parsed = parser.parse_override(override)
        except HydraException as error:
            raise ConfigError(f"{override}: {' '.join(str(error).split())}") from None
        key = parsed.get_key_element()
        # A single value, a list or range, or an interval of a searching sweeper.
        if not parsed.is_sweep_override():
            counts[key] = 1
            firsts.append(override)
        elif parsed.is_discrete_sweep():
            try:
                values = list(parsed.sweep_string_iterator())
            except HydraException:  # a glob: only Hydra's command line knows its options
                raise ConfigError(
                    f"{override} cannot be counted: name the options, separated by commas."
                ) from None
            counts[key] = len(values)
            firsts.append(f"{key}={values[0]}")
        else:
            counts[key] = 2
    return firsts, counts
