"""Reads and checks claims.yaml: a misspelt arm, measure or data set never starts a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from tutelage.errors import ConfigError, did_you_mean
from tutelage.reproduce.claims import (
    KINDS,
    MARKS,
    MEASURES,
    TABLES,
    Arm,
    Claim,
    DataSet,
    Kind,
    Mark,
    Measure,
    Paper,
    Scale,
    Side,
)

CLAIMS = Path(__file__).parent / "claims.yaml"
FOLDER = "data"
"""The folder of data sets without --data."""
_FOLDER = "{folder}"


def read_papers(path: Path = CLAIMS, folder: str = FOLDER) -> dict[str, Paper]:
    """Reads the papers of a file of claims.

    Args:
        path: A file in the format described at the head of claims.yaml.
        folder: Stands for "{folder}" in overrides of data sets.

    Returns:
        The papers by name.

    Raises:
        ConfigError: The file cannot be read, or a value in it is wrong; the message names the
            place and the value.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            f"The claims in {path} cannot be read: {' '.join(str(error).split())}"
        ) from error
    return {
        name: _paper(str(name), node, folder) for name, node in _mapping(found, str(path)).items()
    }


def _paper(name: str, given: Any, folder: str) -> Paper:
    node = _mapping(given, name, needs=("title", "scales", "arms", "claims"))
    scales = {
        key: _scale(key, one, f"{name}.scales.{key}", folder)
        for key, one in _mapping(node["scales"], f"{name}.scales").items()
    }
    # In order, since an arm may be like an earlier one.
    arms: dict[str, Arm] = {}
    for key, one in _mapping(node["arms"], f"{name}.arms").items():
        arms[key] = _arm(key, one, f"{name}.arms.{key}", arms, tuple(scales))
    claims = tuple(
        _claim(one, f"{name}.claims[{index}]", arms, scales)
        for index, one in enumerate(_list(node["claims"], f"{name}.claims"))
    )
    ids = [claim.id for claim in claims]
    if twice := sorted({one for one in ids if ids.count(one) > 1}):
        raise ConfigError(f"{name}.claims: two claims have the id '{twice[0]}'. Give each its own.")
    return Paper(name, str(node["title"]), scales, arms, claims)


def _scale(name: str, given: Any, at: str, folder: str) -> Scale:
    node = _mapping(
        given, at, needs=("overrides", "seeds", "sets"), may=("minutes", "gpu", "shots")
    )
    seeds = _numbers(node["seeds"], f"{at}.seeds")
    # Data sets of the scale, each once per number of shots.
    shots = _numbers(node["shots"], f"{at}.shots") if "shots" in node else ()
    sets, uses_folder = {}, False
    for key, one in _mapping(node["sets"], f"{at}.sets").items():
        one = _mapping(one, f"{at}.sets.{key}", needs=("overrides", "metric"))
        overrides = _overrides(one["overrides"], f"{at}.sets.{key}.overrides")
        uses_folder |= any(_FOLDER in override for override in overrides)
        overrides = tuple(override.replace(_FOLDER, folder) for override in overrides)
        named: dict[str, tuple[str, ...]] = {key: ()}
        if shots:
            named = {f"{key}-{count}": (f"shots={count}",) for count in shots}
        for of_shots, own in named.items():
            sets[of_shots] = DataSet(of_shots, (*overrides, *own), str(one["metric"]), key)
    minutes = None if node.get("minutes") is None else _number(node["minutes"], f"{at}.minutes")
    return Scale(
        name,
        _overrides(node["overrides"], f"{at}.overrides"),
        seeds,
        minutes,
        str(node.get("gpu", "")),
        sets,
        folder if uses_folder else "",
    )


def _arm(name: str, given: Any, at: str, before: Mapping[str, Arm], scales: tuple[str, ...]) -> Arm:
    node = _mapping(given, at, needs=("title",), may=("overrides", "like", *scales))
    like = node.get("like")
    if like is not None and like not in before:
        raise ConfigError(
            f"{at}.like: {did_you_mean('arm', str(like), before)} (It must be an arm further up.)"
        )
    own = _overrides(node.get("overrides", []), f"{at}.overrides")
    overrides = {
        # Those of the other arm come first, so that an ablation wins over its values.
        scale: (
            *(before[like].overrides[scale] if like else ()),
            *own,
            *_overrides(node.get(scale, []), f"{at}.{scale}"),
        )
        for scale in scales
    }
    return Arm(name, str(node["title"]), overrides)


def _claim(given: Any, at: str, arms: Mapping[str, Arm], scales: Mapping[str, Scale]) -> Claim:
    may = ("paper", "worse", "times", "at_least", "at_most", "skipped")
    needs = ("id", "says", "mark", "table", "kind", "better", "sets", "chosen")
    node = _mapping(given, at, needs, may)

    # Both sides; only a value has one.
    at = f"claim {node['id']}"
    kind = _one_of(node["kind"], KINDS, f"{at}: kind")
    better, worse = (
        tuple(_side(one, at, arms) for one in _list(node.get(key, []), f"{at}: {key}"))
        for key in ("better", "worse")
    )
    if not better or bool(worse) == (kind == "value"):
        raise ConfigError(
            f"{at} is a {kind} with {len(better)} better and {len(worse)} worse; a value has no "
            "worse, the other kinds have both."
        )

    # The band; each kind has its own bounds.
    allowed = {"gap": ("at_least", "times"), "value": ("at_least", "at_most")}.get(kind, ())
    for key in ("at_least", "at_most", "times"):
        if key in node and key not in allowed:
            raise ConfigError(f"{at}: a {kind} has no {key}; remove it.")
    low, high = (
        _number(node[key], f"{at}: {key}") if key in node else None
        for key in ("at_least", "at_most")
    )
    if kind == "value" and low is None and high is None:
        raise ConfigError(f"{at} is a value without a band; give at_least, at_most or both.")
    low = (0.0 if kind == "gap" else -math.inf) if low is None else low
    high = (0.0 if kind == "spread" else math.inf) if high is None else high
    if low >= high:
        raise ConfigError(f"{at}: at_least={low:g} is not below at_most={high:g}.")

    # Data sets for each scale, or the reason for none.
    sets = {}
    for scale, names in _mapping(node["sets"], f"{at}: sets").items():
        known = scales[_one_of(scale, scales, f"{at}: scale")].sets
        # The name in the file stands for the set with every number of shots.
        meant = {one: [one] for one in known}
        for data in known.values():
            meant[data.base] = [one.name for one in known.values() if one.base == data.base]
        sets[scale] = tuple(
            one
            for name in _list(names, f"{at}: sets.{scale}")
            for one in meant[_one_of(name, meant, f"{at}: data set")]
        )
    skipped = {
        _one_of(scale, scales, f"{at}: scale"): str(why)
        for scale, why in _mapping(node.get("skipped", {}), f"{at}: skipped").items()
    }
    for scale in scales:
        if bool(sets.get(scale)) == bool(skipped.get(scale)):
            raise ConfigError(
                f"{at}: give either data sets for scale {scale} under sets, or a reason for none "
                "under skipped."
            )
    return Claim(
        id=str(node["id"]),
        says=str(node["says"]),
        mark=cast(Mark, _one_of(node["mark"], MARKS, f"{at}: mark")),
        table=_one_of(node["table"], TABLES, f"{at}: table"),
        kind=cast(Kind, kind),
        better=better,
        worse=worse,
        times=_number(node.get("times", 1.0), f"{at}: times"),
        low=low,
        high=high,
        sets=sets,
        skipped=skipped,
        chosen=tuple(map(str, _list(node["chosen"], f"{at}: chosen"))),
        paper=str(node.get("paper", "")),
    )


def _side(given: Any, at: str, arms: Mapping[str, Arm]) -> Side:
    arm, _, measure = str(given).partition(":")
    return Side(
        _one_of(arm, arms, f"{at}: arm"),
        cast(Measure, _one_of(measure or "score", MEASURES, f"{at}: measure")),
    )


def _one_of(given: Any, known: Iterable[str], at: str) -> str:
    place, _, noun = at.rpartition(": ")
    known = list(known)
    if given not in known:
        raise ConfigError(f"{place}: {did_you_mean(noun, str(given), known)}")
    return str(given)


def _mapping(
    given: Any, at: str, needs: Iterable[str] | None = None, may: Iterable[str] = ()
) -> dict[str, Any]:
    """Checks a mapping and its keys.

    Args:
        given: The value in the file.
        at: Its place, for messages.
        needs: Required keys; None allows any keys.
        may: Optional keys.

    Raises:
        ConfigError: No mapping, an unknown key or a missing one.
    """
    if not isinstance(given, dict):
        raise ConfigError(f"{at} is {given!r}; it must be a mapping.")
    if needs is not None:
        needs = tuple(needs)
        for key in given:
            if key not in (*needs, *may):
                raise ConfigError(f"{at}: {did_you_mean('key', str(key), (*needs, *may))}")
        if missing := [key for key in needs if key not in given]:
            raise ConfigError(f"{at} lacks {missing[0]}.")
    return given


def _numbers(given: Any, at: str) -> tuple[int, ...]:
    numbers = _list(given, at)
    if not numbers or not all(isinstance(number, int) for number in numbers):
        raise ConfigError(f"{at} is {numbers}; give a list of whole numbers.")
    return tuple(numbers)


def _list(given: Any, at: str) -> list[Any]:
    if not isinstance(given, list):
        raise ConfigError(f"{at} is {given!r}; it must be a list.")
    return given


def _overrides(given: Any, at: str) -> tuple[str, ...]:
    overrides = _list(given, at)
    for override in overrides:
        if not isinstance(override, str) or "=" not in override:
            raise ConfigError(f"{at} has {override!r}, which is no override (key=value).")
    return tuple(overrides)


def _number(given: Any, at: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise ConfigError(f"{at} is {given!r}; it must be a finite number.")
    return float(given)
