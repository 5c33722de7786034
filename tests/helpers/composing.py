"""Faster composition: it takes two fifths of a small run, half of it for repeated defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def compose_defaults_once() -> None:
    """Makes Hydra compose the defaults of each choice of groups only once per process.

    ``tutelage.config.compose`` composes every configuration. Beside an ablation it composes the
    groups' defaults with and without it, and for an unknown setting every option of its group.
    These are only read, so they can be shared.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    original, kept = hydra.compose, {}

    def compose(config_name: str, overrides: Sequence[str] = (), **settings: Any) -> Any:
        if settings:
            return original(config_name, list(overrides), **settings)
        search_path = str(GlobalHydra.instance().config_loader().get_search_path())
        key = (search_path, config_name, *overrides)
        if key not in kept:
            kept[key] = original(config_name, list(overrides))
        return kept[key]

    hydra.compose = compose
