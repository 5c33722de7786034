"""No Python process that a run starts imports modules from the working folder."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import tutelage
from tutelage.config.apart import check_apart

SOURCES = sorted(Path(str(tutelage.__file__)).parent.rglob("*.py"))


def test_each_command_with_our_interpreter_has_a_safe_path() -> None:
    commands = [
        (path.name, [ast.unparse(one) for one in node.elts])
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.List)
        and node.elts
        and ast.unparse(node.elts[0]) == "sys.executable"
    ]
    assert {name for name, _ in commands} >= {"assets.py", "job.py", "process.py"}
    assert [name for name, command in commands if command[1] != "'-P'"] == []


def test_a_module_of_the_working_folder_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("statistics", "random", "yaml"):
        (tmp_path / f"{name}.py").write_text(f"open({os.fspath(tmp_path / 'ran')!r}, 'w')\n")
    check_apart([["method=shots"]])
    assert not (tmp_path / "ran").exists()
