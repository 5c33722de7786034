"""Waiting OpenMP threads sleep, unless the user says otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tutelage.threads import WAITING, wait_passively


def test_the_users_own_setting_stays() -> None:
    environment = {"OMP_WAIT_POLICY": "ACTIVE"}
    wait_passively(environment)
    assert environment == {"OMP_WAIT_POLICY": "ACTIVE"}
    environment = {"GOMP_SPINCOUNT": "7"}
    wait_passively(environment)
    assert environment == {**WAITING, "GOMP_SPINCOUNT": "7"}


@pytest.mark.parametrize("module", ["tutelage", "tutelage.cli", "tutelage.student.module"])
def test_it_is_set_before_torch_is_imported(module: str) -> None:
    code = f"""
import json, os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and not hasattr(self, "seen"):
            self.seen = os.environ.get("OMP_WAIT_POLICY")
watch = Watch()
sys.meta_path.insert(0, watch)
import {module}
print(json.dumps([os.environ["OMP_WAIT_POLICY"], getattr(watch, "seen", "PASSIVE")]))
"""
    bare = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == ["PASSIVE", "PASSIVE"]
