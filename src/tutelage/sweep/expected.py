"""What a multirun's command line comes to, found before anything is started: the first job, and how many there will be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Expected:
    """The jobs to come.

    Attributes:
        config: the first job's configuration.
        total: how many jobs there will be; None where the sweeper decides as it goes.
        swept: the keys that have several values.
    """

    config: Any
    total: int | None
    swept: frozenset[str]


def expected_jobs(words: Sequence[str]) -> Expected:
    """What a multirun's overrides come to, together with those of the sweep that they name (hydra.sweeper.params).

    Raises:
        ConfigError: an override or the first job's configuration is wrong.
    """
    firsts, counts = _first_job(words)
    # The sweep alone first: what the command line says may need what the sweep sets, a method for instance.
    named = [word for word in firsts if word.startswith(("sweep=", "hydra"))]
    params: Mapping[str, str] = (
        compose_config(named).hydra.sweeper.get("params") if named else None
    ) or {}
    # Like Hydra's sweeper: what the command line says of a key takes the place of what the sweep says.
    of_sweep, more = _first_job(
        [f"{key}={value}" for key, value in params.items() if key not in counts]
    )
    config = compose_config([*of_sweep, *firsts])
    counts |= more
    grid = str(config.hydra.sweeper._target_).endswith("BasicSweeper")
    total = math.prod(counts.values()) if grid else config.hydra.sweeper.get("n_trials")
    return Expected(config, total, frozenset(key for key, count in counts.items() if count > 1))


def _first_job(words: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """The overrides with the first value of each list, and how many values each key has; an interval counts as two and has no first."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    firsts: list[str] = []
    counts: dict[str, int] = {}
    parser = OverridesParser.create()
    for word in words:
        try:
            override = parser.parse_override(word)
        except HydraException as error:
            raise ConfigError(f"{word}: {' '.join(str(error).split())}") from None
        key = override.get_key_element()
        if not override.is_sweep_override():
            counts[key] = 1
            firsts.append(word)
        elif override.is_discrete_sweep():
            try:
                values = list(override.sweep_string_iterator())
            except (
                HydraException
            ):  # a glob, whose options only Hydra's own parser of a command line knows
                raise ConfigError(
                    f"{word} lists nothing that could be counted; name the options, separated by commas."
                ) from None
            counts[key] = len(values)
            firsts.append(f"{key}={values[0]}")
        else:
            counts[key] = 2
    return firsts, counts
