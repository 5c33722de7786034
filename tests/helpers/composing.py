"""Composing is two fifths of a small run, and half of that are defaults that were composed before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def compose_defaults_once() -> None:
    """Let Hydra compose the same options once a process where only the values of settings are compared with them.

    `tutelage.config.compose` composes every configuration afresh, and beside it the defaults of its groups, to compare types with. The defaults
    are only looked at, so that the same groups may share them.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    really, kept = hydra.compose, {}

    def compose(config_name: str, overrides: Sequence[str] = (), **settings: Any) -> Any:
        if settings:
            return really(config_name, list(overrides), **settings)
        indices = str(GlobalHydra.instance().config_loader().get_search_path())
        key = (indices, config_name, *overrides)
        if key not in kept:
            kept[key] = really(config_name, list(overrides))
        return kept[key]

    hydra.compose = compose
