"""One real engine for the whole session, and the two tasks.

A test with an engine of its own must first free the memory of this one. The shared engine then
restarts at its next request, which takes half a minute, so the files that share it run first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.tasks import TaskSetup, task_setup

from tutelage.assets import ensure_asset
from tutelage.teacher.base import GenerateRequest, Reply, Request, Sampling, ScoreRequest
from tutelage.teacher.engines.vllm import VllmTeacher


@pytest.fixture(scope="session")
def embedded_teacher() -> str:
    return str(ensure_asset("teacher"))


@pytest.fixture(scope="session")
def engine(embedded_teacher: str) -> Iterator[VllmTeacher]:
    teacher = VllmTeacher(embedded_teacher, max_model_len=512, kv_cache_gb=1.0, lifecycle="restart")
    yield teacher
    teacher.close()


@pytest.fixture(scope="session")
def reference(engine: VllmTeacher) -> tuple[list[Request], list[Reply]]:
    """A score and a generation request with the engine's replies, for tests without the engine."""
    prompt = "Text: play some jazz\nTopic: music\n\nText: will it rain\nTopic:"
    choices = tuple(ids[0] for ids in engine.tokenize([" music", " weather"]))
    greedy = Sampling(temperature=0.0, max_tokens=6)
    batch: list[Request] = [
        ScoreRequest("s", prompt, choices),
        GenerateRequest("g", "The capital of France is", greedy),
    ]
    return batch, engine.ask(batch)


@pytest.fixture(scope="module", params=["classification", "ner"])
def kind(
    request: Any,
    student: Path,
    small_data: Path,
    ner_student: Path,
    ner_data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> TaskSetup:
    """Each task in turn, with one cache for all runs of the module."""
    cache = tmp_path_factory.mktemp("cache") / "replies.sqlite"
    network, data = (ner_student, ner_data) if request.param == "ner" else (student, small_data)
    return task_setup(request.param, network, data, cache)
