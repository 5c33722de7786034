from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from tutelage.errors import TeacherError
from tutelage.teacher.engines import hardware
from tutelage.teacher.engines.hardware import (
    Hardware,
    child_environment,
    cpu_has_bf16,
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


def test_the_childs_environment(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "40")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    made = child_environment(Hardware("cpu", 3, False), offline=True)
    assert made["OMP_NUM_THREADS"] == "3"
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


def test_the_build_of_vllm_decides_the_device(tmp_path, monkeypatch):
    installed = {"vllm": "0.32.1"}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(hardware.importlib.metadata, "version", version)
    monkeypatch.setattr(hardware, "nvidia_gpu", lambda: ("NVIDIA H100, 80 GB", 9.0))
    found, number = vllm_hardware()
    assert (found.device, found.bf16_units, number) == ("gpu", True, "0.32.1")
    monkeypatch.setattr(hardware, "nvidia_gpu", lambda: None)
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
