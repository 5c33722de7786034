"""The wheel: its contents, and a run outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from tests.helpers import tiny
from tests.helpers.tiny import accuracies, grow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of a new environment with the wheel and this one's packages, but no checkout."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=60
    )
    python = home / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    # A path from a .pth file is only added; .pth files in it, such as the checkout's, are not read.
    (Path(next(home.glob("lib/python*/site-packages"))) / "packages.pth").write_text(
        sysconfig.get_path("purelib") + "\n"
    )
    return home / "bin"


def run(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["TUTELAGE_CACHE"] = str(folder / "user-cache")
    return subprocess.run(
        [str(installed / command[0]), *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_the_wheel_holds_what_a_run_needs_and_nothing_else(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name for name in names if name.startswith("tutelage/conf/")}
    assert shipped == {
        f"tutelage/conf/{path.relative_to(ROOT / 'conf')}"
        for path in (ROOT / "conf").rglob("*.yaml")
    }
    package = ROOT / "src" / "tutelage"
    for pattern in (
        "data/samples/*/*",
        "**/*.j2",
        "reproduce/*.yaml",
        "report/*.css",
        "report/*.js",
        "py.typed",
        "**/*.py",
    ):
        there = {
            f"tutelage/{path.relative_to(package)}"
            for path in package.glob(pattern)
            if path.is_file()
        }
        assert there
        assert there <= set(names), pattern
    assert all(name.startswith(("tutelage/", "tutelage-")) for name in names)
    assert not [
        name for name in names if name.endswith((".pyc", ".sqlite", ".safetensors", ".log"))
    ]
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    assert any(name.endswith("entry_points.txt") for name in names)
    assert wheel.stat().st_size < 2_000_000


def test_the_configuration_is_found_away_from_the_checkout(installed: Path, tmp_path: Path):
    where = run(
        installed,
        tmp_path,
        "python",
        "-c",
        "import tutelage, tutelage.config.compose as c; print(tutelage.__file__); "
        "print(c.conf_directory())",
    )
    assert where.returncode == 0, where.stderr
    assert all(line.startswith(str(installed.parent)) for line in where.stdout.split())
    done = run(installed, tmp_path, "tutelage", "train", "--cfg", "job", "seed=4")
    assert done.returncode == 0, done.stderr
    assert "seed: 4\n" in done.stdout
    assert "name: snips_intent" in done.stdout


def test_a_recorded_run_is_played_again_by_the_installed_package(
    installed: Path, student: Path, small_data: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "user-cache"))
    recording = tmp_path / "run.jsonl"
    here = [*tiny.scripted(student, small_data, tmp_path / "replies.sqlite"), *tiny.EVOKD]
    recorded = grow(tmp_path / "here", [*here, f"teacher.record={recording}"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    overrides = [override for override in here if not override.startswith("teacher")]
    done = run(
        installed,
        elsewhere,
        "tutelage",
        "train",
        *overrides,
        "teacher=replay",
        f"teacher.recording={recording}",
    )
    assert done.returncode == 0, done.stderr
    folder = next(elsewhere.glob("outputs/files-evokd/*"))
    result = json.loads((folder / "result.json").read_text())
    assert result["pool_hash"] == recorded["pool_hash"]
    assert accuracies(folder) == accuracies(tmp_path / "here")
    assert result["tokens"]["spent"] == 0
    assert (folder / "report.html").is_file()
    assert json.loads((folder / "manifest.json").read_text())["commit"] == "", (
        "an installed package is no checkout"
    )
