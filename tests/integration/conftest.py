"""One real engine for the whole session (a test that needs one of its own hands this one's memory over first), and the two kinds of task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kinds import Kind, kind_of

from tutelage.assets import ensure_asset
from tutelage.teacher.vllm_process import VllmTeacher


@pytest.fixture(scope="session")
def embedded_teacher() -> str:
    return str(ensure_asset("teacher"))


@pytest.fixture(scope="session")
def engine(embedded_teacher: str) -> Iterator[VllmTeacher]:
    teacher = VllmTeacher(embedded_teacher, max_model_len=512, kv_cache_gb=1.0, lifecycle="restart")
    yield teacher
    teacher.close()


@pytest.fixture(scope="module", params=["classification", "ner"])
def kind(
    request: Any, student: Path, small_data: Path, ner_student: Path, ner_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Kind:
    """Each task in turn, with a cache of its own for the module's runs."""
    cache = tmp_path_factory.mktemp("cache") / "replies.sqlite"
    network, data = (ner_student, ner_data) if request.param == "ner" else (student, small_data)
    return kind_of(request.param, network, data, cache)
