"""The folders that configurations are composed from."""

from __future__ import annotations

import os
from pathlib import Path

from tutelage.config.overrides import quoted
from tutelage.errors import ConfigError


def conf_directory() -> Path:
    """The configuration folder: in the package when installed from a wheel, else in the
    checkout."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"


OWN_CONF = "TUTELAGE_CONF"
"""Environment variable: a folder of the user's own groups and options (``--config-dir``)."""


def check_own_conf(folder: Path) -> None:
    """Refuses a folder of the user's own that is not there.

    Raises:
        ConfigError: it is no folder.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"--config-dir {folder} (or {OWN_CONF}) is no folder. Give one that holds groups as "
            "conf/ does, for instance my_conf/select/mine.yaml."
        )


def search_path() -> list[str]:
    """Returns the override that adds the user's own configuration folder, where there is one.

    Raises:
        ConfigError: the folder is not there.
    """
    if not (own := os.environ.get(OWN_CONF)):
        return []
    check_own_conf(Path(own))
    return [f"hydra.searchpath=[{quoted(f'file://{Path(own).resolve()}')}]"]
