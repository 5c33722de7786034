"""PGKD: EvoKD's loop with hard negatives, and the classes' scores on dev in the analysis."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.helpers.classification import (
    CONF,
    MIXED,
    NAMES,
    TASK,
    WordTeacher,
    context,
    grown,
    make_evokd,
    obliging,
    outcome,
    requested_label,
)

from tutelage.callbacks.feedback import FeedbackCollector
from tutelage.config.build import build_method
from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError
from tutelage.methods.evokd.method import EvoKD
from tutelage.records import Feedback
from tutelage.runs.folder import RunFolder

ON_DEV = TASK.scores(
    [outcome("Food", "Animal", 1), outcome("Tool", "Tool", 2), outcome("Animal", "Animal", 3)] * 8
)
"""A student that is weak on Food on dev, and not on Tool as its fresh rows say."""
SEEN = replace(MIXED, on_dev=ON_DEV)


def settings(**changes: Any) -> dict[str, Any]:
    """What conf/method/pgkd.yaml changes of EvoKD's settings."""
    values = OmegaConf.to_container(OmegaConf.load(CONF / "method" / "pgkd.yaml"), resolve=True)
    assert isinstance(values, dict)
    return {
        **{str(key): value for key, value in values.items() if key not in ("defaults", "training")},
        **changes,
    }


def test_the_analysis_shows_the_most_confident_mistakes_and_the_report_of_dev(
    tmp_path: Path,
) -> None:
    _, teacher, _ = grown(tmp_path, SEEN, **settings(n_wrong=2))
    (request,) = teacher.analyses()
    wrong = [one.text in request.prompt for one in SEEN.confident_wrong]
    assert wrong == [True, True, *[False] * (len(wrong) - 2)]
    food, tool = (f"{name.lower()} {ON_DEV[name].f1:.2f}" for name in ("Food", "Tool"))
    assert (food, tool) == ("food 0.00", "tool 1.00")
    report = next(
        line for line in request.prompt.splitlines() if line.startswith("Its F1 by topic:")
    )
    assert food in report
    assert tool in report


def test_a_round_is_32_texts_and_goes_where_dev_is_weak(tmp_path: Path) -> None:
    method, teacher, growth = grown(tmp_path, SEEN, **settings())
    assert (method.name, method.rounds) == ("pgkd", 10)
    asked = Counter(requested_label(request.prompt) for request in teacher.generations())
    assert sum(asked.values()) == len(growth.rows) == 32
    assert asked.most_common(1)[0][0] == "Food"


def test_evokd_s_own_scores_are_those_of_the_fresh_rows(tmp_path: Path) -> None:
    _, teacher, _ = grown(tmp_path, SEEN, **settings(scores_from="fresh"))
    assert (
        Counter(requested_label(request.prompt) for request in teacher.generations()).most_common(
            1
        )[0][0]
        == "Tool"
    )
    assert f"tool {MIXED.per_class['Tool'].f1:.2f}" in teacher.analyses()[0].prompt


def test_doubtful_mistakes_go_and_the_scores_of_dev_stay(tmp_path: Path) -> None:
    method = make_evokd(**settings(mistake_margin=0.5))
    method.setup(context(tmp_path, WordTeacher(obliging)))
    aimed = method.aimed_at(SEEN)
    assert aimed.per_class == ON_DEV
    assert set(aimed.outcomes) <= set(SEEN.outcomes)


def test_the_desk_tells_a_method_the_scores_of_dev_and_not_its_texts(tmp_path: Path) -> None:
    given: list[Feedback] = []

    class Asking:
        def aimed_at(self, feedback: Feedback) -> Feedback:
            given.append(feedback)
            return feedback

    collector = FeedbackCollector(TASK, Asking(), RunFolder(tmp_path), predict_then_train=False)  # type: ignore[arg-type]
    collector.feedback(MIXED.outcomes, 1, {name: asdict(score) for name, score in ON_DEV.items()})
    collector.feedback(MIXED.outcomes, 2)
    assert given[0].on_dev == ON_DEV
    assert given[0].outcomes == MIXED.outcomes
    assert given[1].on_dev == {}


@pytest.mark.parametrize(
    ("override", "used"),
    [
        ([], 6),
        (["method.scores_from=fresh", "training.patience=0"], 0),
        (["method.scores_from=fresh"], 6),
        (
            ["method.scores_from=fresh", "training.patience=0", "training.keep=best"],
            6,
        ),
        (
            [
                "method.scores_from=fresh",
                "training.patience=0",
                "training.keep=best",
                "method.rounds=0",
            ],
            0,
        ),
    ],
)
def test_the_dev_labels_that_steer_count_as_used(override: list[str], used: int) -> None:
    from tutelage.run import _gold

    class Data:
        dev = (1,) * 6

        def shots(self, k: int, seed: int) -> tuple[int, ...]:
            return (1,) * k

    config = compose_config(["method=pgkd", *override])
    assert _gold(config, Data(), build_method(config), None)["dev"] == used  # type: ignore[arg-type]


def test_patience_is_five_rounds() -> None:
    assert compose_config(["method=pgkd"]).training.patience == 5


def test_a_plan_shows_the_report(tmp_path: Path) -> None:
    method: EvoKD = make_evokd(**settings())
    method.setup(context(tmp_path, WordTeacher(obliging)))
    (analysis,) = method.sample_requests(2)["analysis"]
    assert "Its F1 by topic:" in analysis.prompt
    assert all(name.lower() in analysis.prompt for name in NAMES)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.scores_from=test", r"Unknown method.scores_from 'test'. .*Available: dev, fresh"),
        ("method.init=llmda", r"Unknown method.init 'llmda'. Did you mean 'llm_da'"),
    ],
)
def test_unknown_values_are_refused_at_composition(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_config(["method=pgkd", override])
