from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.doubles import ScriptedTeacher

from tutelage import doctor
from tutelage.errors import TeacherError
from tutelage.teacher.base import Reply


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def found(checks: list[doctor.Check], name: str) -> doctor.Check:
    return next(check for check in checks if check.name.startswith(name))


def test_a_round_trip_asks_for_a_score_and_a_text_and_closes_the_engine(cache, capsys):
    teacher = ScriptedTeacher()
    checks = doctor.diagnose(None, "vllm", teacher=teacher)
    trip = found(checks, "round trip")
    assert trip.ok
    assert "first answer after" in trip.found
    assert {request.prompt for request in teacher.asked} == {
        "Question: is snow cold?\nAnswer (yes or no):",
        "Snow is",
    }
    assert teacher.closed == 1
    assert found(checks, "python").ok
    assert found(checks, "torch").ok
    doctor.print_report(checks)
    assert "round trip" in capsys.readouterr().out


def test_a_dead_engine_gives_its_advice(cache, capsys):
    def dies(request):
        raise TeacherError("the process died [red]. Lower teacher.kv_cache_gb.\nits log")

    checks = doctor.diagnose(None, "vllm", teacher=ScriptedTeacher(dies))
    trip = found(checks, "round trip")
    assert trip.ok is False
    assert "Lower teacher.kv_cache_gb" in trip.advice
    doctor.print_report(checks)
    assert "the process died [red]. Lower teacher.kv_cache_gb." in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_refused_request_is_told_of(cache):
    trip = found(
        doctor.diagnose(
            None,
            "vllm",
            teacher=ScriptedTeacher(lambda request: Reply(request.id, error="too long")),
        ),
        "round trip",
    )
    assert (trip.ok, trip.found) == (False, "too long")


def test_an_embedded_teacher_that_is_not_there_is_not_fetched(cache):
    checks = doctor.diagnose("embedded", "local")
    assert found(checks, "embedded teacher").ok is False
    assert "tutelage assets" in found(checks, "embedded teacher").advice
    assert found(checks, "round trip").advice == "Run `tutelage assets` first."


def test_a_model_of_ones_own_does_not_need_the_embedded_teacher(cache):
    checks = doctor.diagnose("/nowhere/model", "local")
    assert found(checks, "embedded teacher").ok is None
    assert "there is no such folder" in found(checks, "round trip").advice


def test_an_unknown_engine_is_named(cache):
    teacher = ScriptedTeacher()
    assert (
        "Did you mean 'vllm'"
        in found(doctor.diagnose(None, "vlm", teacher=teacher), "round trip").advice
    )
    assert teacher.closed == 1


def test_engines_with_settings_of_their_own_are_left_out(cache):
    assert found(doctor.diagnose(None, "server"), "round trip").ok is None


def test_a_missing_engine_and_a_full_disk_and_short_memory(cache, monkeypatch):
    monkeypatch.setattr(doctor, "vllm_build", lambda: None)
    monkeypatch.setattr(doctor, "_NEEDED_DISK_GB", 10.0**9)
    monkeypatch.setattr(doctor, "_NEEDED_MEMORY_GB", 10.0**9)
    checks = doctor.diagnose(None, "vllm", teacher=ScriptedTeacher())
    assert "tutelage[cpu]" in found(checks, "engine vllm").advice
    assert "TUTELAGE_CACHE" in found(checks, "cache folder").advice
    assert "kv_cache_gb" in found(checks, "memory").advice


def test_a_cuda_torchvision_beside_a_cpu_torch_is_found_out(cache, monkeypatch):
    versions = {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}
    monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name, "1.0"))
    assert "pip uninstall" in found(doctor.diagnose(None, "server"), "torchvision").advice
