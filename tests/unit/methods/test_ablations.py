"""Each ablation takes exactly one thing away from what is asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from tests.helpers.classification import (
    ANALYSIS,
    CONF,
    MIXED,
    NAMES,
    SHOTS,
    WordTeacher,
    feedback,
    grown,
)


def kinds(teacher: WordTeacher) -> Counter[str]:
    """Requests by kind."""
    return Counter(
        {
            "analysis": len(teacher.analyses()),
            "generation": len(teacher.generations()),
            "labelling": len(teacher.scorings()),
        }
    )


def ablation(name: str) -> dict[str, Any]:
    """The method settings that an ablation file changes."""
    path = CONF / "ablation" / f"{name}.yaml"
    assert path.read_text(encoding="utf-8").startswith("# @package method\n"), name
    values = OmegaConf.load(path)
    assert isinstance(values, DictConfig)
    return {str(key): value for key, value in values.items()}


def test_no_analysis(tmp_path: Path) -> None:
    _, whole, _ = grown(tmp_path)
    _, less, _ = grown(tmp_path, **ablation("no_analysis"))
    assert kinds(less) == {"analysis": 0, "generation": 12, "labelling": 12}
    without_note = [
        request.prompt.removeprefix(f"Note: {ANALYSIS}.\n\n") for request in whole.generations()
    ]
    assert [request.prompt for request in less.generations()] == without_note
    assert [request.seed for request in less.generations()] == [
        request.seed for request in whole.generations()
    ]


def test_no_easy(tmp_path: Path) -> None:
    _, whole, _ = grown(tmp_path)
    _, less, growth = grown(tmp_path, **ablation("no_easy"))
    assert less.analyses() == whole.analyses()
    assert less.generations() == whole.generations()[:6]
    assert {row.source for row in growth.rows} == {"hard"}


def test_no_correct(tmp_path: Path) -> None:
    _, teacher, _ = grown(tmp_path, **ablation("no_correct"))
    prompts = [request.prompt for request in (*teacher.analyses(), *teacher.generations())]
    assert len(prompts) == 13
    assert not any(one.text in prompt for prompt in prompts for one in MIXED.correct)
    assert any(one.text in prompts[0] for one in MIXED.wrong)
    assert kinds(teacher) == {"analysis": 1, "generation": 12, "labelling": 12}


def test_no_separation(tmp_path: Path) -> None:
    _, whole, _ = grown(tmp_path)
    method, less, growth = grown(tmp_path, **ablation("no_separation"))
    assert less.scorings() == []
    assert less.asked == [*whole.analyses(), *whole.generations()]
    assert all(row.distribution is None and row.target == row.asked for row in growth.rows)
    method.first_rows()
    assert less.scorings() == []


def test_no_feedback_is_static_generation(tmp_path: Path) -> None:
    method, teacher, growth = grown(tmp_path, **ablation("no_feedback"))
    assert kinds(teacher) == {"analysis": 0, "generation": 12, "labelling": 12}
    assert not any(
        one.text in request.prompt for request in teacher.asked for one in MIXED.outcomes
    )
    assert growth.quota == {f"{name}/easy": 4 for name in NAMES}
    shots = {shot.text for shot in SHOTS}
    assert all(any(text in request.prompt for text in shots) for request in teacher.generations())
    assert method.aimed_at(MIXED).outcomes == ()
    # Whatever the student does, the same is asked.
    assert (
        teacher.generations()
        == grown(tmp_path, feedback({"Food": 3}, {("Food", "Tool"): 9}), **ablation("no_feedback"))[
            1
        ].generations()
    )


def test_no_review_is_the_training_view_alone() -> None:
    path = CONF / "ablation" / "no_review.yaml"
    assert path.read_text(encoding="utf-8").startswith("# @package training\n")
    assert OmegaConf.load(path) == {"review_every": 0}


def test_each_file_of_evokd_changes_one_setting() -> None:
    own = ["no_analysis", "no_correct", "no_easy", "no_feedback", "no_review", "no_separation"]
    assert all(len(OmegaConf.load(CONF / "ablation" / f"{name}.yaml")) == 1 for name in own)
