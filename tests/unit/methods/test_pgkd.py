"""PGKD: EvoKD's loop with hard negatives and the classes' scores on dev in all its prompts."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.helpers.classification import (
    CONF,
    LABELS,
    MIXED,
    NAMES,
    TASK,
    WordTeacher,
    context,
    grown,
    make_evokd,
    obliging,
    outcome,
    prompt_set,
    requested_label,
    shipped,
)
from tests.helpers.ner import TYPES

from tutelage.callbacks.feedback import FeedbackCollector
from tutelage.config.build_method import build_method
from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError
from tutelage.methods.evokd.method import EvoKD
from tutelage.records import ClassScore, Feedback
from tutelage.runs.folder import RunFolder
from tutelage.teacher.base import Chat
from tutelage.teacher.prompts import PromptSet

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


def score_line(name: str) -> str:
    one = ON_DEV[name]
    return f"- {name.lower()}: {one.precision:.2f}, {one.recall:.2f}, {one.f1:.2f}, {one.support}"


def test_analysis_and_writing_prompts_show_the_whole_report(tmp_path: Path) -> None:
    """All classes, right and wrong outcomes, the most confident mistakes beside, and dev scores."""
    _, teacher, _ = grown(tmp_path, SEEN, **settings(n_wrong=2, n_correct=2, n_confident=2))
    (analysis,) = teacher.analyses()
    written = teacher.generations()
    assert len(written) == 32
    for request in (analysis, *written):
        prompt = str(request.prompt)
        assert all(score_line(name) in prompt for name in NAMES)
        report = prompt.split("Examples of ")[0]
        # Two mistakes drawn over the classes, and the two surest of the others.
        wrong = {one.text for one in SEEN.wrong if one.text in report}
        assert len(wrong) == 4
        sure = [one.text for one in SEEN.confident_wrong]
        assert {sure[0], sure[1]} <= wrong
        assert sum(one.text in report for one in SEEN.correct) == 2
    for request in written:
        assert all(f"- {one.word}: {one.description}" in str(request.prompt) for one in LABELS)


@pytest.mark.parametrize("task", ["classification", "ner"])
@pytest.mark.parametrize("way", ["chat", "completion"])
def test_the_report_stands_before_every_request_for_texts(task: str, way: str) -> None:
    """A report is part of the system message of a chat, and the request itself stays as it is."""
    prompts = prompt_set(f"{way}_{task}")
    labels = LABELS if task == "classification" else TYPES
    score = ClassScore(0.25, 0.5, 0.33, 12)
    study = {
        "labels": labels,
        "report": {labels[0].word: score},
        "wrong": [],
        "confident": [],
        "correct": [],
    }
    variables: dict[str, Any] = {
        "label": labels[0],
        "demonstrations": [],
        "mentions": (),
        "opening": "",
        "no_name": "",
        "confused_with": None,
        "mistakes": [],
        "turns": [],
        "analysis": "",
        "style": "",
        "instruction": "",
        "length": "",
        "count": 1,
        "as_list": False,
        "items": [{"source": "", "names": [], "instruction": ""}],
    }
    for kind in ("easy", "hard"):
        plain = prompts.render(kind, **variables, study={})
        shown = prompts.render(kind, **variables, study=study)
        assert f"- {labels[0].word}: 0.25, 0.50, 0.33, 12" in str(shown)
        assert all(label.description in str(shown) for label in labels)
        assert "0.25" not in str(plain)
        if isinstance(shown, Chat) and isinstance(plain, Chat):
            assert shown.messages[1:] == plain.messages[1:]
            assert shown.messages[0].content.startswith(plain.messages[0].content)
        else:
            assert str(shown).endswith(f"\n\n{plain}")


def test_a_report_that_is_too_long_for_the_teacher_is_cut(tmp_path: Path) -> None:
    prompts = prompt_set()
    prompts.settle(False, lambda texts: [[0] * len(str(text).split()) for text in texts], 200)
    shown = [{"text": "word " * 400, "target": LABELS[0], "predicted": LABELS[1]}]
    study = {"labels": LABELS, "report": {}, "wrong": shown, "confident": [], "correct": []}
    prompt = prompts.render("easy", label=LABELS[0], demonstrations=[], style="", study=study)
    assert len(str(prompt).split()) <= 100


def test_prompts_of_one_s_own_need_a_report(tmp_path: Path) -> None:
    given = shipped("prompt/templates", "classification")["completion"]
    prompts = PromptSet({kind: text for kind, text in given.items() if kind != "report"})
    method = make_evokd(prompts=prompts, **settings())
    with pytest.raises(ConfigError, match=r"there is no prompt\.completion\.report"):
        method.setup(context(tmp_path, WordTeacher(obliging)))


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
    score = MIXED.per_class["Tool"]
    line = f"- tool: {score.precision:.2f}, {score.recall:.2f}, {score.f1:.2f}, {score.support}"
    assert line in teacher.analyses()[0].prompt


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
        (["method.scores_from=fresh", "training.patience=0", "training.keep=last"], 0),
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


@pytest.mark.parametrize(
    "changes", [{"explanations": True}, {"analysis": False}, {"seeds": "loss"}]
)
def test_the_surest_mistakes_need_an_analysis_or_a_report_to_be_seen(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError, match=r"method\.n_confident=4 shows .* this run has neither"):
        make_evokd(**settings(class_report=False, **changes))
    make_evokd(**settings(class_report=True, **changes))
    make_evokd(**settings(class_report=False, n_confident=0, **changes))
    make_evokd(**settings(class_report=False))


def test_patience_is_five_rounds_and_the_best_student_stays() -> None:
    training = compose_config(["method=pgkd"]).training
    assert (training.patience, training.keep) == (5, "best")


def test_a_plan_shows_the_report(tmp_path: Path) -> None:
    method: EvoKD = make_evokd(**settings())
    method.setup(context(tmp_path, WordTeacher(obliging)))
    (analysis,) = method.sample_requests(2)["analysis"]
    assert "F1 and number of texts by topic:" in analysis.prompt
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
