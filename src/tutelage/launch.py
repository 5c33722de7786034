"""One run under Hydra, from the command line or from Python; ``@hydra.main`` lives only here."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tutelage.config.compose import compose_config, compose_hydra
from tutelage.config.folder import OWN_CONF, check_own_conf, conf_directory, search_path
from tutelage.config.messages import in_one_line
from tutelage.config.overrides import quoted, readable
from tutelage.config.schema import RunConfig
from tutelage.config.secrets import refuse_secrets
from tutelage.config.typed import typed_config
from tutelage.errors import ConfigError, RunError, TutelageError
from tutelage.interruption import Interrupted, stoppable
from tutelage.runs.folder import (
    REPORT,
    RunFolder,
    Status,
    finish,
    holds_nothing,
    identity_of,
    is_closed,
    new_folder,
    refuse_taken,
    runs_with,
)
from tutelage.runs.manifest import CONFIG_FORMAT, config_hash, identity
from tutelage.terminal import TerminalProgress, print_result, say


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


_FLAGS_WITH_VALUE = frozenset({"--cfg", "-c", "--package", "-p", "--info", "-i"})
_FLAGS = _FLAGS_WITH_VALUE | {"--resolve", "--run", "-r", "--multirun", "-m", "--help", "-h"}
_RARE_FLAGS = frozenset({"--hydra-help", "--version", "--shell-completion", "-sc"})


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parts a command line into flags, with their values, and overrides.

    Hydra's own parser takes overrides in one place only: before the flags or after them.

    Raises:
        ConfigError: a flag that there is not.
    """
    flags: list[str] = []
    overrides: list[str] = []
    for one in arguments:
        is_value = flags and flags[-1] in _FLAGS_WITH_VALUE and "=" not in one
        if not one.startswith("-"):
            (flags if is_value else overrides).append(one)
            continue
        name = one.partition("=")[0]
        if name not in _FLAGS | _RARE_FLAGS:
            raise ConfigError(
                f"There is no flag {name}. Settings are written without dashes, as in "
                f"{name.lstrip('-') or 'seed'}=…; `tutelage train --cfg job` prints every setting."
            )
        flags.append(one)
    return flags, overrides


def shows_only(arguments: Sequence[str]) -> bool:
    """Returns whether a command line asks Hydra to show something, so that nothing runs."""
    return any(
        one in ("-c", "-h", "-i", "-sc", "--version")
        or one.startswith(("--cfg", "--help", "--info", "--hydra-help", "--shell-completion"))
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
    refuse_secrets(arguments)
    flags, overrides = split_flags(arguments)
    if shows_only(flags):
        return _show(flags, readable(overrides))
    overrides = readable(overrides)
    config = compose_config(overrides)
    if verb == "plan":
        from tutelage.plan import plan

        return plan(config)
    resumed = folder_to_resume(config)
    folder = resumed or folder_to_begin(config, overrides)
    codes: list[int] = []

    def job(composed: Any) -> float | None:
        from hydra.core.hydra_config import HydraConfig

        hydra_config = HydraConfig.get()
        try:
            return train(typed_config(composed, hydra_config), folder, job_overrides())
        except TutelageError as error:
            say(f"tutelage: {error}")
            codes.append(error.exit_code)
            return None

    try:
        with stoppable():
            under_hydra(job, [*overrides, f"hydra.run.dir={as_value(folder)}", *flags])
    except KeyboardInterrupt:
        if resumed is None:
            _end_at_start(config, folder, overrides)
        raise
    return max(codes, default=0)


def _end_at_start(config: RunConfig, folder: Path, overrides: Sequence[str]) -> None:
    """Ends a run that was stopped before it listened for signals.

    Raises:
        Interrupted: it was, and this is how to go on.
    """
    if (RunFolder(folder).read_json("status.json") or {}).get("state") == "running":
        command = resume_command(overrides, folder)
        status = Status(RunFolder(folder), command, identity(config.source))
        status.end("interrupted", "stopped by the user")
        raise Interrupted(f"Stopped as asked. Go on with:\n  {command}") from None


def under_hydra(task: Callable[[Any], Any], arguments: Sequence[str]) -> None:
    """Lets Hydra compose the configuration of a command line and call ``task`` with it."""
    import hydra

    # Hydra reads its command line from sys.argv.
    sys.argv = ["tutelage", *search_path(), *arguments]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    main = hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")
    main(task)()


def _show(flags: Sequence[str], overrides: Sequence[str]) -> int:
    """Lets Hydra print the configuration, or its help.

    Raises:
        ConfigError: the configuration does not compose, or is that of many runs.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if many := {"-m", "--multirun"} & {*flags}:
        raise ConfigError(
            f"{flags[0]} shows the configuration of one run: leave {many.pop()} out, and give one "
            "value of each list."
        )
    compose_hydra(overrides)
    try:
        under_hydra(lambda _: None, [*overrides, *flags])
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(in_one_line(error)) from None
    return 0


def folder_to_begin(config: RunConfig, overrides: Sequence[str]) -> Path:
    """Returns the folder of a new run, with the status that a resume finds it by.

    A folder that the user names is taken as it is; the others are new, also where several runs
    start in the same second.

    Raises:
        RunError: the folder cannot be made, or holds a run.
    """
    wanted = config.hydra.run_dir
    named = any(one.lstrip("+").startswith("hydra.run.dir=") for one in overrides)
    try:
        if named:
            refuse_taken(wanted)
            wanted.mkdir(parents=True, exist_ok=True)
        folder = wanted if named else new_folder(wanted)
    except OSError as error:
        raise RunError(
            f"The run folder {wanted} cannot be made: {error.strerror}. Give another with "
            "hydra.run.dir=…"
        ) from error
    # Where the folder has a status, another process may be starting in it.
    if not (folder / "status.json").exists():
        Status(RunFolder(folder), resume_command(overrides, folder), identity(config.source))
    return folder


def job_overrides() -> list[str]:
    """Returns the overrides of Hydra's job as they were typed.

    A reference to the environment stays a reference: its value may be a secret.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    overrides: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
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

    reporter = TerminalProgress(
        rounds=int(config.method.get("rounds") or 0), budget=config.budget.tokens
    )
    try:
        with reporter:
            result = run(
                config,
                path,
                reporter,
                resume_command(overrides, path),
                resume=bool(config.resume),
                draws_report=True,
            )
    except TutelageError:
        if (path / "manifest.json").is_file():
            try:
                say(f"report   {shown(write_report(path))}")
            except (OSError, TutelageError) as error:  # the first error is the one to show
                say(f"report   not drawn: {error}")
        raise
    print_result(reporter.console, result, shown(path))
    report = write_report(path)
    if (RunFolder(path).read_json("status.json") or {}).get("phase") == REPORT:
        finish(RunFolder(path))
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
    if not config.resume:
        return None
    if config.resume is True:
        return _newest_unfinished(config)
    path = Path(str(config.resume)).expanduser()
    begun, wanted = identity_of(path), config_hash(config.source)
    if begun is None and not holds_nothing(path):
        raise ConfigError(
            f"resume={config.resume} is not the folder of a run (it has no status.json). Give one "
            "under outputs/, or resume=true."
        )
    if begun is not None and begun.get("config_format", 1) != CONFIG_FORMAT:
        raise ConfigError(
            f"resume={config.resume} was begun by tutelage {begun.get('tutelage', '?')}, "
            "whose configuration keys had other names (CHANGELOG.md lists old and new), so it "
            "cannot be continued by this version. Start the run again: its replies are in the "
            "cache and cost nothing; or install that version to continue."
        )
    if begun is not None and begun["config_hash"] != wanted:
        raise ConfigError(
            f"resume={config.resume} was run with another configuration (hash "
            f"{begun['config_hash']}, this one is {wanted}). Give the same overrides as "
            f"then; they are in {path / 'config.yaml'}."
        )
    return path


def _newest_unfinished(config: RunConfig) -> Path:
    base = config.hydra.run_dir.parent
    unfinished = []
    for started, run in runs_with(config_hash(config.source), base.glob("*")):
        if not is_closed(run, REPORT):
            unfinished.append((started, run.path))
    if unfinished:
        return max(unfinished)[1]
    # A run that was killed before its first file may have been of any configuration.
    if unwritten := [path for path in base.glob("*") if holds_nothing(path)]:
        return max(unwritten, key=lambda path: path.stat().st_mtime)
    raise ConfigError(
        f"resume=true found no unfinished run of this very configuration under {base}. Leave "
        "resume out to begin one."
    )


def as_value(path: Path) -> str:
    """Quotes a path as the value of an override, whatever characters it has."""
    return quoted(str(path), "'")


def shown(path: Path) -> str:
    """Returns a path as a person types it: relative to the working folder where it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):  # it lies elsewhere, or the working folder was deleted
        return str(path)
