"""What a multirun's command line comes to, found before anything is started: the first job, and how many there will be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.config.compose import compose_config, compose_hydra
from tutelage.config.schema import RunConfig
from tutelage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Expected:
    """The jobs to come.

    Attributes:
        config: the first job's configuration.
        total: how many jobs there will be; None where the sweeper decides as it goes.
        swept: the keys that have several values.
    """

    config: RunConfig
    total: int | None
    swept: frozenset[str]


def expected_jobs(overrides: Sequence[str]) -> Expected:
    """What a multirun's overrides come to, together with those of the sweep that they name (hydra.sweeper.params).

    Raises:
        ConfigError: an override or the first job's configuration is wrong.
    """
    firsts, counts = _first_job(overrides)
    # The sweep alone first: what the command line says may need what the sweep sets, a method for instance.
    named = [override for override in firsts if override.startswith(("sweep=", "hydra"))]
    params: Mapping[str, str] = (
        compose_hydra(named).hydra.sweeper.get("params") if named else None
    ) or {}
    # Like Hydra's sweeper: what the command line says of a key takes the place of what the sweep says.
    of_sweep, more = _first_job(
        [f"{key}={value}" for key, value in params.items() if key not in counts]
    )
    config = compose_config([*of_sweep, *firsts])
    counts |= more
    grid = config.hydra.sweeper.endswith("BasicSweeper")
    total = math.prod(counts.values()) if grid else config.hydra.n_trials
    return Expected(config, total, frozenset(key for key, count in counts.items() if count > 1))


def _first_job(overrides: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """The overrides with the first value of each list, and how many values each key has; an interval counts as two and has no first."""
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
        if not parsed.is_sweep_override():
            counts[key] = 1
            firsts.append(override)
        elif parsed.is_discrete_sweep():
            try:
                values = list(parsed.sweep_string_iterator())
            except HydraException:  # a glob: only Hydra's command line knows its options
                raise ConfigError(
                    f"{override} lists nothing that could be counted; name the options, separated by commas."
                ) from None
            counts[key] = len(values)
            firsts.append(f"{key}={values[0]}")
        else:
            counts[key] = 2
    return firsts, counts
