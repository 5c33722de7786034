from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.engines import hardware
from tutelage.teacher.engines.hardware import (
    Hardware,
    child_environment,
    chosen_gpus,
    cpu_has_bf16,
    cpu_has_int8,
    nvidia_gpu,
    resolve_dtype,
    vllm_hardware,
)

CPU = Hardware("cpu", 2, False)


def test_the_number_type_is_chosen_for_the_hardware(tmp_path):
    assert resolve_dtype("auto", CPU) == "float32"
    assert resolve_dtype("auto", Hardware("cpu", 2, True)) == "float32"
    assert resolve_dtype("auto", Hardware("gpu", 2, True)) == "bfloat16"
    assert resolve_dtype("auto", Hardware("gpu", 2, False)) == "float16"
    assert resolve_dtype("bfloat16", CPU) == "bfloat16"
    info = tmp_path / "cpuinfo"
    info.write_text("processor: 0\nflags\t\t: fpu avx512f avx512_bf16\n")
    assert cpu_has_bf16(info)
    info.write_text("flags : fpu avx512f\n")
    assert not cpu_has_bf16(info)
    assert not cpu_has_bf16(tmp_path / "none")


@pytest.mark.parametrize(
    ("flags", "found"), [("avx512f avx512_vnni", True), ("amx_int8", True), ("avx_vnni", False)]
)
def test_int8_units_are_those_of_512_bits(tmp_path, flags, found):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor: 0\nflags\t\t: fpu {flags}\n")
    assert cpu_has_int8(info) is found


def test_the_childs_environment(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "40")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    made = child_environment(Hardware("cpu", 3, False), offline=True)
    assert made["OMP_NUM_THREADS"] == "3"
    fewer = child_environment(Hardware("cpu", 3, False), offline=True, threads=1)
    assert {name for name in made if made[name] != fewer[name]} == {"OMP_NUM_THREADS"}
    assert made["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert made["HF_HUB_OFFLINE"] == "1"
    assert "VLLM_CPU_KVCACHE_SPACE" not in made
    gpu = child_environment(Hardware("gpu", 3, True), offline=False)
    assert gpu["OMP_NUM_THREADS"] == "1"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in gpu
    assert "HF_HUB_OFFLINE" not in gpu


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_gpu_is_what_nvidia_smi_says(tmp_path, monkeypatch):
    nvidia_smi(tmp_path, monkeypatch, "echo 'NVIDIA T4, 15360 MiB, 7.5'")
    assert nvidia_gpu() == ("NVIDIA T4, 15360 MiB", 7.5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert nvidia_gpu() is None
    nvidia_smi(tmp_path, monkeypatch, "echo 'No devices were found'; exit 6")
    assert nvidia_gpu() is None
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert nvidia_gpu() is None


def test_the_gpu_is_the_one_that_the_engine_will_use(tmp_path, monkeypatch):
    cards = "A100, 80 GB, 8.0\nT4, 15 GB, 7.5\nH100, 80 GB, 9.0"
    script = (
        "for word; do wanted=$word; done\n"
        f"case $wanted in\n"
        '1) echo "T4, 15 GB, 7.5" ;;\n'
        '0,1) echo "A100, 80 GB, 8.0"; echo "T4, 15 GB, 7.5" ;;\n'
        '7) echo "No devices were found"; exit 6 ;;\n'
        f'*) echo "{cards}" ;;\n'
        "esac"
    )
    nvidia_smi(tmp_path, monkeypatch, script)
    assert nvidia_gpu() == ("A100, 80 GB", 8.0)
    assert nvidia_gpu(("0", "1")) == ("T4, 15 GB", 7.5)  # the weakest decides the number type
    assert nvidia_gpu(("7",)) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert nvidia_gpu() == ("T4, 15 GB", 7.5)


def test_numbers_of_gpus_count_those_that_the_run_sees():
    nothing: dict[str, str] = {}
    for given in (0, "0", [0], ["0"]):
        assert chosen_gpus(given, nothing) == ("0",)
    assert chosen_gpus("0, 1", nothing) == chosen_gpus([0, 1], nothing) == ("0", "1")
    assert chosen_gpus(None, nothing) == ()
    slurm = {"CUDA_VISIBLE_DEVICES": "2,GPU-5f"}
    assert chosen_gpus(None, slurm) == ("2", "GPU-5f")
    assert chosen_gpus(1, slurm) == ("GPU-5f",)
    assert chosen_gpus("GPU-77", slurm) == ("GPU-77",)
    with pytest.raises(ConfigError, match=r"there is no GPU 2.*=2,GPU-5f shows 2"):
        chosen_gpus("2", slurm)
    for given in ("", [], "cuda:1", "0,0", -1):
        with pytest.raises(ConfigError, match="names no GPUs"):
            chosen_gpus(given, nothing)


def test_chosen_gpus_are_all_that_the_engine_sees(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    build = ("gpu", "0.32.1")
    monkeypatch.setattr(hardware, "vllm_build", lambda: build)
    monkeypatch.setattr(
        hardware, "nvidia_gpu", lambda gpus=(): None if "7" in gpus else ("T4", 7.5)
    )
    made = child_environment(vllm_hardware([1, 2])[0], offline=False)
    assert (made["CUDA_VISIBLE_DEVICES"], made["CUDA_DEVICE_ORDER"]) == ("1,2", "PCI_BUS_ID")
    assert "CUDA_VISIBLE_DEVICES" not in child_environment(vllm_hardware()[0], offline=False)
    with pytest.raises(ConfigError, match="nvidia-smi does not know GPU 7"):
        vllm_hardware("7")
    build = ("cpu", "0.32.0")
    with pytest.raises(ConfigError, match=r"chooses GPUs.*CPU build.*teacher\.devices=null"):
        vllm_hardware(0)


def test_the_build_of_vllm_decides_the_device(tmp_path, monkeypatch):
    installed = {"vllm": "0.32.1"}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(hardware.importlib.metadata, "version", version)
    monkeypatch.setattr(hardware, "nvidia_gpu", lambda _=(): ("NVIDIA H100, 80 GB", 9.0))
    found, number = vllm_hardware()
    assert (found.device, found.bf16_units, number) == ("gpu", True, "0.32.1")
    monkeypatch.setattr(hardware, "nvidia_gpu", lambda _=(): None)
    with pytest.raises(
        TeacherError, match=r"GPU build, but nvidia-smi reports no GPU.*tutelage\[cpu\]"
    ):
        vllm_hardware()
    installed.clear()
    with pytest.raises(
        TeacherError, match=r"not installed.*tutelage\[cpu\].*tutelage\[gpu\].*teacher=local"
    ):
        vllm_hardware()
    installed["vllm-cpu"] = "0.32.0"
    assert vllm_hardware()[0].device == "cpu"
