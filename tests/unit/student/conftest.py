"""Folder of a tiny encoder, built once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.tiny_student import tiny_encoder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))
