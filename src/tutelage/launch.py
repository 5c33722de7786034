"""One run under Hydra, from the command line or from Python; ``@hydra.main`` lives only here."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage.config.compose import compose_config
from tutelage.config.folder import OWN_CONF, check_own_conf, conf_directory, search_path
from tutelage.config.schema import RunConfig
from tutelage.config.secrets import refuse_secrets
from tutelage.config.typed import typed_config
from tutelage.errors import ConfigError, RunError, TutelageError


def take_config_dir(arguments: Sequence[str]) -> list[str]:
    """Moves ``--config-dir FOLDER`` into the environment, where every job of a sweep finds it.

    Returns:
        The other arguments.

    Raises:
        ConfigError: another option that names a configuration, or no folder behind this one.
    """
    refuse_secrets(arguments)
    left, given = [], iter(arguments)
    for one in given:
        name, equals, value = one.partition("=")
        if name in ("--config-dir", "-cd"):
            folder = value if equals else next(given, "")
            if not folder:
                raise ConfigError("--config-dir needs a folder: --config-dir my_conf.")
            own = Path(folder).expanduser().resolve()
            check_own_conf(own)
            os.environ[OWN_CONF] = str(own)
        elif name in ("--config-path", "-cp", "--config-name", "-cn"):
            raise ConfigError(
                f"{name} would replace the configuration that tutelage is written for. "
                "`--config-dir my_conf` adds a folder of your own groups and options to it."
            )
        else:
            left.append(one)
    return left


def with_search_path(arguments: Sequence[str]) -> list[str]:
    """Adds the user's own configuration folder beside the other overrides.

    Hydra's parser wants all overrides in one place among the flags.
    """
    first = next(
        (n for n, one in enumerate(arguments) if not one.startswith("-") and "=" in one), None
    )
    at = len(arguments) if first is None else first
    return [*arguments[:at], *search_path(), *arguments[at:]]


def shows_only(arguments: Sequence[str]) -> bool:
    """Returns whether a command line asks Hydra to show something, so that nothing runs."""
    return any(
        one in ("-c", "-h") or one.startswith(("--cfg", "--help", "--info", "--hydra-help"))
        for one in arguments
    )


def launch(verb: str, arguments: list[str]) -> int:
    """Does one run (``train``) or shows one (``plan``) under Hydra.

    Many runs belong to :mod:`tutelage.sweep.multirun`.

    Returns:
        The exit code.

    Raises:
        ConfigError: an override is wrong, or holds a secret.
    """
    import hydra

    refuse_secrets(arguments)
    folder: Path | None = None
    if not shows_only(arguments):
        config = compose_config([one for one in arguments if not one.startswith("-")])
        if verb == "plan":
            from tutelage.plan import plan

            return plan(config)
        folder = folder_to_resume(config)
        _make_parent(folder or config.hydra.run_dir)
    codes: list[int] = []

    @hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")  # type: ignore[untyped-decorator]
    def job(composed: Any) -> float | None:
        from hydra.core.hydra_config import HydraConfig

        hydra_config = HydraConfig.get()
        try:
            return train(
                typed_config(composed, hydra_config),
                Path(hydra_config.runtime.output_dir),
                job_overrides(),
            )
        except TutelageError as error:
            print(f"tutelage: {error}", file=sys.stderr)
            codes.append(error.exit_code)
            return None

    extra = [f"hydra.run.dir={as_value(folder)}"] if folder else []
    sys.argv = ["tutelage", *with_search_path(arguments), *extra]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    job()
    return max(codes, default=0)


def job_overrides() -> list[str]:
    """Returns the overrides of Hydra's job as they were typed.

    A reference to the environment stays a reference: its value may be a secret.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(overrides, list)
    return [str(override) for override in overrides]


def resume_command(overrides: Sequence[str], folder: Path) -> str:
    """Returns the command that continues a run in ``folder``."""
    kept = [one for one in overrides if not one.startswith(("resume=", "hydra."))]
    own = [f"--config-dir={shown(Path(os.environ[OWN_CONF]))}"] if os.environ.get(OWN_CONF) else []
    return shlex.join(["tutelage", "train", *own, *kept, f"resume={shown(folder)}"])


def train(config: RunConfig, path: Path, overrides: Sequence[str]) -> float:
    """Does one run with its display, table and report.

    Returns:
        The first headline metric on test, which a sweeper optimises.
    """
    from tutelage.report.html import write_report
    from tutelage.run import run
    from tutelage.terminal import TerminalProgress, print_result

    reporter = TerminalProgress(
        rounds=int(config.method.get("rounds") or 0), budget=config.budget.tokens
    )
    try:
        with reporter:
            result = run(
                config, path, reporter, resume_command(overrides, path), resume=bool(config.resume)
            )
    except TutelageError:
        if (path / "manifest.json").is_file():
            try:
                print(f"report   {shown(write_report(path))}", file=sys.stderr)
            except (OSError, TutelageError) as error:  # the first error is the one to show
                print(f"report   not drawn: {error}", file=sys.stderr)
        raise
    report = write_report(path)
    print_result(reporter.console, result, shown(path))
    reporter.console.print(
        f"report   {shown(report)}", highlight=False, soft_wrap=True, markup=False
    )
    return float(result["after"][result["metrics"][0]["key"]])


def folder_to_resume(config: RunConfig) -> Path | None:
    """Returns the folder that ``resume`` means; None where it is false.

    Raises:
        ConfigError: no unfinished run of this configuration, or the folder is of another
            configuration or of an earlier version.
    """
    from tutelage.runs.folder import RunFolder, runs_with
    from tutelage.runs.manifest import CONFIG_FORMAT, config_hash

    if not config.resume:
        return None
    wanted = config_hash(config.source)
    if config.resume is not True:
        path = Path(str(config.resume)).expanduser()
        manifest = RunFolder(path).read_json("manifest.json") if path.is_dir() else None
        if manifest is None:
            raise ConfigError(
                f"resume={config.resume} is not the folder of a run (it has no manifest.json). "
                "Give one under outputs/, or resume=true."
            )
        if manifest.get("config_format", 1) != CONFIG_FORMAT:
            raise ConfigError(
                f"resume={config.resume} was begun by tutelage {manifest.get('tutelage', '?')}, "
                "whose configuration keys had other names (CHANGELOG.md lists old and new), so it "
                "cannot be continued by this version. Start the run again: its replies are in the "
                "cache and cost nothing; or install that version to continue."
            )
        if manifest["config_hash"] != wanted:
            raise ConfigError(
                f"resume={config.resume} was run with another configuration (hash "
                f"{manifest['config_hash']}, this one is {wanted}). Give the same overrides as "
                f"then; they are in {path / 'config.yaml'}."
            )
        return path
    base = config.hydra.run_dir.parent
    begun = runs_with(wanted, base.glob("*"))
    candidates = [
        (started, run.path)
        for started, run in begun
        if (run.read_json("status.json") or {}).get("state") != "done"
    ]
    if not candidates:
        raise ConfigError(
            f"resume=true found no unfinished run of this very configuration under {base}. Leave "
            "resume out to begin one."
        )
    return max(candidates)[1]


def as_value(path: Path) -> str:
    """Quotes a path as the value of an override, whatever characters it has."""
    # In Hydra's grammar a backslash is special before a quote only.
    text = re.sub(r"\\+(?='|$)", lambda found: found[0] * 2, str(path))
    return "'" + text.replace("'", "\\'") + "'"


def shown(path: Path) -> str:
    """Returns a path as a person types it: relative to the working folder where it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _make_parent(folder: Path) -> None:
    """Makes the folder that Hydra makes the run's folder in, with advice where that fails."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The run folder {folder} cannot be made: {error.strerror}. Give another with "
            "hydra.run.dir=…"
        ) from error
