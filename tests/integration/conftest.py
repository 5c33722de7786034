"""One real engine for the whole session; a test that needs one of its own hands this one's memory over first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
