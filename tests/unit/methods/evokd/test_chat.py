"""EvoKD by chat: lists of texts, mistakes in the hard prompts, analyses of real mistakes only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.classification import (
    MIXED,
    SHOTS,
    RecordedProgress,
    WordTeacher,
    context,
    feedback,
    grown,
    make_evokd,
    make_text,
    prompt_set,
)

from tutelage.records import Growth
from tutelage.teacher.base import GenerateRequest, Request

ANALYSIS = "It mixes up tools and animals.\n\n- Words such as *saw* mislead it."


def answering(request: Request) -> Any:
    """Writes as many texts as it is asked for."""
    assert isinstance(request, GenerateRequest)
    if not request.json_schema:
        return ANALYSIS
    count = json.loads(request.json_schema)["properties"]["texts"]["maxItems"]
    texts = [make_text("Tool", 100 + 10 * int(request.id) + number) for number in range(count)]
    return json.dumps({"texts": texts})


def round_of(folder: Path, *given: Any, **changes: Any) -> tuple[WordTeacher, Growth]:
    _, teacher, growth = grown(
        folder,
        *given,
        script=answering,
        prompts=prompt_set("chat_classification"),
        separated=False,
        **changes,
    )
    return teacher, growth


def written(teacher: WordTeacher) -> Sequence[GenerateRequest]:
    return [request for request in teacher.generations() if request.json_schema]


def test_a_round_asks_for_lists_and_counts_requests(tmp_path: Path) -> None:
    recorded = RecordedProgress()
    teacher, growth = round_of(tmp_path, n_hard=12, n_easy=12, recorded=recorded)
    requests = written(teacher)
    assert len(growth.rows) == 24
    assert len(requests) < 12
    assert growth.asked == 1 + len(requests) == growth.answered
    assert ("generation", len(requests)) in recorded.phases
    one, alone = round_of(tmp_path / "one", n_hard=3, n_easy=3, texts_per_request=1)
    assert not written(one)
    assert alone.asked == 1 + 6


def test_hard_prompts_show_the_mistakes_and_what_they_were_taken_for(tmp_path: Path) -> None:
    teacher, _ = round_of(tmp_path, n_hard=24, n_easy=6)
    mistakes = [one.text for one in MIXED.wrong]
    hard = [str(one.prompt) for one in written(teacher) if "takes for" in str(one.prompt)]
    assert hard
    assert all(any(text in prompt for text in mistakes) for prompt in hard)
    assert any("which a small model takes for animal." in prompt for prompt in hard)
    easy = [str(one.prompt) for one in written(teacher) if "understood" not in str(one.prompt)]
    assert easy
    assert not any(text in prompt for prompt in easy for text in mistakes)


def test_an_analysis_may_have_lines_and_needs_a_mistake(tmp_path: Path) -> None:
    teacher, growth = round_of(tmp_path)
    (request,) = teacher.analyses()
    assert (request.sampling.max_tokens, request.sampling.stop) == (160, ())
    assert growth.analysis == "It mixes up tools and animals. Words such as *saw* mislead it."
    perfect, growth = round_of(tmp_path / "perfect", feedback({"Animal": 3, "Tool": 3}, {}))
    assert not perfect.analyses()
    assert growth.analysis == ""
    assert len(growth.rows) > 0


def test_a_plan_shows_mistakes_and_as_many_requests_as_a_round_has(tmp_path: Path) -> None:
    method = make_evokd(
        prompts=prompt_set("chat_classification"), separated=False, n_hard=24, n_easy=24
    )
    method.setup(context(tmp_path, WordTeacher(answering)))
    sample = method.sample_requests(100)
    assert len(sample["generation"]) == method.requests_a_round()["generation"] < 24
    prompts = [str(request.prompt) for request in (*sample["generation"], *sample["analysis"])]
    assert any("takes for" in prompt for prompt in prompts)
    assert any("Wrong:" in prompt for prompt in prompts)
    assert any(shot.text in prompts[-1] for shot in SHOTS)
