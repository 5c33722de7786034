"""From command-line overrides to a typed configuration."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from tutelage.config.folder import conf_directory, search_path
from tutelage.config.messages import in_one_line
from tutelage.config.overrides import readable
from tutelage.config.schema import RunConfig
from tutelage.config.secrets import refuse_secrets
from tutelage.config.typed import typed_config
from tutelage.errors import ConfigError, did_you_mean


def compose_config(overrides: Sequence[str] = (), *, import_targets: bool = True) -> RunConfig:
    """Composes the configuration of a run.

    Args:
        overrides: as on the command line, "key=value".
        import_targets: as :func:`typed_config` takes it.

    Raises:
        ConfigError: an unknown option or key, a value of the wrong type, a name that is no
            folder's, or a secret.
    """
    config = typed_config(compose_hydra(overrides), import_targets=import_targets)
    _check_name("name", config.name)
    _check_name("sweep.name", config.sweep.name)
    return config


def _check_name(setting: str, name: str) -> None:
    """Refuses a name that leads out of the folder in which it names one."""
    printable = "".join("-" if ord(sign) < 32 or ord(sign) == 127 else sign for sign in name)
    parts = printable.split("/")
    if printable != name or not name.strip("/ ") or {".", ".."} & set(parts):
        better = "-".join(part for part in parts if part.strip(". ")) or "my_run"
        raise ConfigError(
            f"{setting}={name!r} cannot name a folder of its own: a name is not empty, and has no "
            "'.' or '..' between its slashes and no control characters. Give "
            f"{shlex.quote(f'{setting}={better}')}."
        )


def compose_hydra(overrides: Sequence[str]) -> Any:
    """Composes Hydra's DictConfig, with Hydra's own node, and checks it against the ablation.

    Raises:
        ConfigError: an override that Hydra cannot read, an unknown option or key, an ablation that
            a value undoes, or a secret.
    """
    refuse_secrets(overrides)
    overrides = readable(overrides)
    from hydra import compose, initialize_config_dir
    from hydra.errors import (
        ConfigCompositionException,
        HydraException,
        MissingConfigException,
    )
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            config = compose("config", [*overrides, *search_path()], return_hydra_config=True)
            _check_ablation(config, overrides)
            return config
    except MissingConfigException as error:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        if error.options:
            unknown = did_you_mean(group or "configuration", option, error.options)
            raise ConfigError(unknown) from None
        raise ConfigError(
            f"There is no configuration '{error.missing_cfg_file}': {error}"
        ) from None
    except (ConfigCompositionException, HydraException, OmegaConfBaseException) as error:
        raise ConfigError(in_one_line(error)) from None


def _check_ablation(config: Any, overrides: Sequence[str]) -> None:
    """Refuses a value on the command line that undoes the chosen ablation."""
    from hydra import compose

    ablation = config.hydra.runtime.choices.ablation
    groups = {path.name for path in conf_directory().iterdir() if path.is_dir()}
    keys = {word: word.lstrip("+~").partition("=")[0] for word in overrides}
    options = {word for word, key in keys.items() if key.partition("@")[0] in groups}
    values = [key for word, key in keys.items() if word not in options and "." in key]
    if ablation in (None, "none") or not values:
        return
    chosen_options = [word for word in keys if word in options]
    ablated = compose("config", [*chosen_options, *search_path()])
    others = [word for word in keys if word in options and keys[word] != "ablation"]
    # An ablation may choose the selector; what that one's own file says is not the ablation's.
    chosen = config.hydra.runtime.choices.select
    named = [] if "select" in keys.values() else [f"select={chosen}"]
    whole = compose("config", [*others, *named, *search_path()])
    for key in values:
        default, given, unablated = (_selected(node, key) for node in (ablated, config, whole))
        if unablated != default != given:
            raise ConfigError(
                f"ablation={ablation} sets {key}={default}, and {key}={given} on the command line "
                "is stronger, so it would not be that ablation. Leave one of the two out."
            )


def _selected(node: Any, key: str) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationToMissingValueError

    try:
        return OmegaConf.select(node, key, throw_on_missing=False)
    except InterpolationToMissingValueError:  # sweep.name, say, before data=hub has a name
        return None
