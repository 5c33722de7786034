"""From command-line overrides to a composed configuration and a run folder; ``@hydra.main`` lives only here."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError, RunError, TutelageError, did_you_mean


def conf_directory() -> Path:
    """The configuration folder: inside the package when installed from a wheel, beside ``src`` in a checkout."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"


def compose_config(overrides: Sequence[str]) -> Any:
    """Compose the configuration as a run would see it.

    Raises:
        ConfigError: an unknown option or key, a value of the wrong type, or a secret.
    """
    _refuse_secrets(overrides)
    from hydra import compose, initialize_config_dir
    from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    from tutelage.config.schema import register_schema

    register_schema()
    try:
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            config = compose("config", list(overrides), return_hydra_config=True)
            _check_values(config, overrides)
            return config
    except MissingConfigException as error:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        if error.options:
            raise ConfigError(
                did_you_mean(group or "configuration", option, error.options)
            ) from None
        raise ConfigError(
            f"There is no configuration '{error.missing_cfg_file}': {error}"
        ) from None
    except (ConfigCompositionException, HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if error.__cause__ is not None else error
        lines = [
            line.strip()
            for line in (
                str(error) + "\n" + (str(cause) if cause is not error else "")
            ).splitlines()
            if line.strip()
        ]
        lines = [
            line
            for line in lines
            if not line.startswith(("full_key", "object_type", "To append", "reference_type"))
        ]
        raise ConfigError(
            f"{' '.join(lines)}{_elsewhere(str(error))} (`tutelage train --cfg job` prints every setting.)"
        ) from None


_NO_SETTING = re.compile(r"Could not override '((\w+)\.[\w.]+)'")


def _elsewhere(message: str) -> str:
    """In Hydra's words about a setting that the chosen option of a group lacks: the options that have it."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    if not (found := _NO_SETTING.match(message)):
        return ""
    key, group = found.groups()
    options = [path.stem for path in sorted((conf_directory() / group).glob("*.yaml"))]
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        nothing = object()
        having = [
            option
            for option in options
            if OmegaConf.select(compose("config", [f"{group}={option}"]), key, default=nothing)
            is not nothing
        ]
    return f". It is a setting of {group}={', '.join(having)}." if having else ""


def shows_only(words: Sequence[str]) -> bool:
    """Whether a command line asks Hydra to show something, so that nothing is run."""
    return any(
        word in ("-c", "-h") or word.startswith(("--cfg", "--help", "--info", "--hydra-help"))
        for word in words
    )


def launch(verb: str, overrides: list[str]) -> int:
    """Do one run (``train``), or show one (``plan``), under Hydra, and return the exit code; many runs are :mod:`tutelage.sweep.multirun`'s.

    Raises:
        ConfigError: an override is wrong, or holds a secret.
    """
    import hydra

    from tutelage.config.schema import register_schema

    _refuse_secrets(overrides)
    register_schema()
    folder: Path | None = None
    # With another configuration folder only Hydra knows what the words mean.
    if not shows_only(overrides) and not any(word.startswith("--config") for word in overrides):
        config = compose_config([word for word in overrides if not word.startswith("-")])
        require_values(config)
        if verb == "plan":
            from tutelage.plan import plan

            return plan(config)
        folder = folder_to_resume(config)
        _make_parent(folder or Path(str(config.hydra.run.dir)))
    codes: list[int] = []

    @hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")  # type: ignore[untyped-decorator]
    def job(config: Any) -> float | None:
        from hydra.core.hydra_config import HydraConfig

        try:
            return train(config, Path(HydraConfig.get().runtime.output_dir), job_overrides())
        except TutelageError as error:
            print(f"tutelage: {error}", file=sys.stderr)
            codes.append(error.exit_code)
            return None

    extra = [f"hydra.run.dir={quoted(folder)}"] if folder else []
    sys.argv = ["tutelage", *overrides, *extra]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    job()
    return max(codes, default=0)


def job_overrides() -> list[str]:
    """The overrides of Hydra's job as they were typed: what they name of the environment may be a secret, and is not put in its place."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    words = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(words, list)
    return [str(word) for word in words]


def train(config: Any, path: Path, overrides: Sequence[str]) -> float:
    """One run with its display, table and report; returns the first quoted number on test (what a sweeper optimises)."""
    from tutelage.report.html import write_report
    from tutelage.run import run
    from tutelage.terminal import TerminalProgress, print_result

    kept = [word for word in overrides if not word.startswith(("resume=", "hydra."))]
    command = shlex.join(["tutelage", "train", *kept, f"resume={shown(path)}"])
    reporter = TerminalProgress(
        rounds=int(config.method.get("rounds", 0)), budget=config.budget.tokens
    )
    try:
        with reporter:
            result = run(config, path, reporter, command, resume=bool(config.resume))
    except TutelageError:
        if (path / "manifest.json").is_file():
            try:
                print(f"report   {shown(write_report(path))}", file=sys.stderr)
            except (OSError, TutelageError) as error:  # the first error is the one to tell
                print(f"report   not drawn: {error}", file=sys.stderr)
        raise
    report = write_report(path)
    print_result(reporter.console, result, shown(path))
    reporter.console.print(
        f"report   {shown(report)}", highlight=False, soft_wrap=True, markup=False
    )
    return float(result["after"][result["metrics"][0]["key"]])


def folder_to_resume(config: Any) -> Path | None:
    """The folder that ``resume`` means; None where it is false.

    Raises:
        ConfigError: no unfinished run of this configuration, or the folder is of another configuration.
    """
    from tutelage.runs.folder import RunFolder, runs_with
    from tutelage.runs.manifest import config_hash

    if not config.resume:
        return None
    wanted = config_hash(config)
    if config.resume is not True:
        path = Path(str(config.resume)).expanduser()
        manifest = RunFolder(path).read_json("manifest.json") if path.is_dir() else None
        if manifest is None:
            raise ConfigError(
                f"resume={config.resume} is no run's folder (it has no manifest.json). Give one under outputs/, or resume=true."
            )
        if manifest["config_hash"] != wanted:
            raise ConfigError(
                f"resume={config.resume} was run with another configuration (hash {manifest['config_hash']}, this one is {wanted}). "
                f"Give the same overrides as then; they are in {path / 'config.yaml'}."
            )
        return path
    base = Path(str(config.hydra.run.dir)).parent
    begun = runs_with(wanted, base.glob("*"))
    candidates = [
        (started, run.path)
        for started, run in begun
        if (run.read_json("status.json") or {}).get("state") != "done"
    ]
    if not candidates:
        raise ConfigError(
            f"resume=true found no unfinished run of this very configuration under {base}. Leave resume out to begin one."
        )
    return max(candidates)[1]


_IN_A_DICTIONARY = re.compile(r"[{,]\s*(\w+)\s*:\s*([^,{}]+)")
_A_REFERENCE = re.compile(r"['\"]?\$\{[\w.:]+(,\s*null)?\}['\"]?")
"""To a variable of the environment, or to another setting; a default in it would be a secret again."""


def _refuse_secrets(overrides: Sequence[str]) -> None:
    """Refuse a secret on the command line: status.json and a sweep's files hold the command."""
    from tutelage.runs.manifest import CLASSES, looks_secret

    for word in overrides:
        key, _, value = word.lstrip("+~").partition("=")
        if CLASSES in key.split("."):
            continue
        # A dictionary may hold one under a name of its own: student.hub={token: …}.
        for name, given in [(key.rpartition(".")[2], value), *_IN_A_DICTIONARY.findall(value)]:
            if (
                looks_secret(name, given)
                and given.strip() not in ("", "null")
                and not _A_REFERENCE.fullmatch(given.replace("\\", "").strip())
            ):
                raise ConfigError(
                    f"{key}=… looks like a secret, and the command is written down with the run. Put the value into an environment variable "
                    f"and name that one: '{key}=${{oc.env:NAME}}'."
                )


def _check_values(config: Any, overrides: Sequence[str]) -> None:
    """Refuse a value whose type is not its default's, in the groups that the schema leaves open, and one that undoes the ablation."""
    from hydra import compose

    groups = {path.name for path in conf_directory().iterdir() if path.is_dir()}
    keys = {word: word.lstrip("+~").partition("=")[0] for word in overrides}
    # "selector@method.accept" chooses an option too.
    options = {word for word, key in keys.items() if key.partition("@")[0] in groups}
    if not any("." in key for word, key in keys.items() if word not in options):
        return
    defaults = compose("config", [word for word in keys if word in options])
    whole = defaults
    if config.hydra.runtime.choices.ablation != "none":
        others = [word for word in keys if word in options and keys[word] != "ablation"]
        # An ablation may choose the selector; what that one's file says is not the ablation's.
        chosen = (
            []
            if "selector" in keys.values()
            else [f"selector={config.hydra.runtime.choices.selector}"]
        )
        whole = compose("config", [*others, *chosen])
    for key in (key for word, key in keys.items() if word not in options and "." in key):
        default, given, unablated = (_selected(node, key) for node in (defaults, config, whole))
        if unablated != default != given:
            raise ConfigError(
                f"ablation={config.hydra.runtime.choices.ablation} sets {key}={default}, and {key}={given} on the command line is stronger, so "
                "it would not be that ablation. Leave one of the two out."
            )
        for kind, takes, name in (
            (bool, bool, "true or false"),
            (int, int, "a whole number"),
            (float, (int, float), "a number"),
        ):
            if isinstance(default, kind):
                if not isinstance(given, takes) or isinstance(given, bool) != (kind is bool):
                    raise ConfigError(f"{key}={given!r} is not {name}; its default is {default}.")
                break


def _selected(node: Any, key: str) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationToMissingValueError

    try:
        return OmegaConf.select(node, key, throw_on_missing=False)
    except InterpolationToMissingValueError:  # sweep.name, say, before data=hub has a name
        return None


def require_values(config: Any) -> None:
    """Refuse a configuration that lacks a value.

    Raises:
        ConfigError: it does; the message names the first one.
    """
    from omegaconf import OmegaConf

    # Not OmegaConf.missing_keys: it fails on a name that refers to a missing value.
    own = OmegaConf.to_container(
        OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    )
    if missing := sorted(_unset(own, "")):
        raise ConfigError(
            f"{missing[0]} has no value and needs one: add {missing[0]}=… to the command."
        )


def _unset(node: Any, path: str) -> list[str]:
    if isinstance(node, dict):
        return [
            found
            for key, value in node.items()
            for found in _unset(value, f"{path}.{key}" if path else str(key))
        ]
    return [path] if node == "???" else []


def quoted(path: Path) -> str:
    """A path as a value of an override, whatever is in its name."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _make_parent(folder: Path) -> None:
    """Make what a run's folder lies in, so that Hydra, which makes the folder itself, cannot fail on it without advice."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The run folder {folder} cannot be made: {error.strerror}. Give another with hydra.run.dir=…"
        ) from error


def shown(path: Path) -> str:
    """A path as a person types it: from the working folder where it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
