"""Feedback from other sources than the last texts: pool texts of the same round, dev, both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.classification import (
    DEV,
    MIXED,
    NAMES,
    TASK,
    RecordedProgress,
    WordTeacher,
    context,
    make_evokd,
    obliging,
    scored_text,
)
from tests.helpers.pool import POOL, Student, class_of

from tutelage.config.compose import compose_config
from tutelage.errors import BudgetExhausted, ConfigError
from tutelage.methods.base import MethodContext
from tutelage.methods.evokd.method import EvoKD
from tutelage.records import Feedback, Growth, Outcome, Row
from tutelage.selectors.acceptance import AcceptSelector, LabelAgreement
from tutelage.selectors.uncertainty_sampling import UncertaintySampling
from tutelage.teacher.base import Request, ScoreRequest

TOOLS = [example.text for example in POOL if class_of(example.text) == "Tool"]
DOUBTFUL = Student(dict.fromkeys((*TOOLS, POOL[0].text), 0.3))
KEEP_ALL = LabelAgreement(agreement=False)


def taken_for_animals(rows: Sequence[Row]) -> list[Outcome]:
    """Predictions of a student to whom every tool is an animal."""
    return [
        Outcome(
            row.id, row.text, row.target, "Animal" if row.target == "Tool" else row.target,
            tuple(0.8 if name == "Animal" else 0.1 for name in NAMES), row.source, 0,
        )
        for row in reversed(rows)
    ]  # fmt: skip


def set_up(
    folder: Path,
    *,
    script: Callable[[Request], Any] = obliging,
    acceptance: AcceptSelector = KEEP_ALL,
    recorded: RecordedProgress | None = None,
    **changes: Any,
) -> tuple[EvoKD, WordTeacher, MethodContext]:
    settings = {"feedback": "pool", "n_pool": 5, "n_hard": 12, "n_easy": 3, **changes}
    chooses = settings["feedback"] in ("pool", "mixed")
    method = make_evokd(
        acceptance, acquirer=UncertaintySampling("entropy") if chooses else None, **settings
    )
    teacher = WordTeacher(script)
    given = context(
        folder,
        teacher,
        recorded=recorded,
        unlabelled=POOL,
        view_pool=DOUBTFUL,
        predict=taken_for_animals,
    )
    method.setup(given)
    return method, teacher, given


def grown(folder: Path, given: Feedback = MIXED, **changes: Any) -> tuple[WordTeacher, Growth]:
    method, teacher, _ = set_up(folder, **changes)
    return teacher, method.next_rows(method.aimed_at(given), 1)


def pool_rows(growth: Growth) -> list[Row]:
    return [row for row in growth.rows if row.source == "pool"]


def test_the_mistakes_of_a_round_are_those_on_the_pool_texts_of_the_same_round(
    tmp_path: Path,
) -> None:
    recorded = RecordedProgress()
    teacher, growth = grown(tmp_path, recorded=recorded)
    labelled = pool_rows(growth)
    assert {row.text for row in labelled} == set(DOUBTFUL.confidence)
    assert all(row.accepted and row.distribution and row.parents for row in labelled)
    assert growth.feedback is not None
    assert {one.text for one in growth.feedback.wrong} == set(TOOLS)
    assert {one.id for one in growth.feedback.outcomes} == {row.id for row in labelled}
    # The analysis and the prompts of hard texts show them.
    (analysis,) = teacher.analyses()
    assert all(text in str(analysis.prompt) for text in TOOLS)
    assert not any(one.text in str(analysis.prompt) for one in MIXED.outcomes)
    hard = [row for row in growth.rows if row.source == "hard" and row.asked == "Tool"]
    missed = {one.id for one in growth.feedback.wrong}
    assert hard
    assert all(missed & set(row.parents) for row in hard)
    # Labels come first, and everything is counted once.
    phases = [name for name, _ in recorded.phases]
    assert phases == ["acquisition", "labelling", "analysis", "generation", "labelling"]
    assert growth.asked == growth.answered == len(teacher.asked) == 5 + 1 + 15 + 15
    assert set(growth.seconds) == {"acquisition", "labelling", "analysis", "generation"}


def test_more_texts_are_written_for_the_classes_of_the_mistakes(tmp_path: Path) -> None:
    """Half of the 12 hard texts go evenly, the others to the only class with mistakes."""
    _, growth = grown(tmp_path, n_pool=len(POOL), focus=0.5)
    hard = {name: growth.quota[f"{name}/hard"] for name in NAMES}
    assert hard == {"Tool": 8, "Animal": 2, "Food": 2}
    assert growth.quota["Animal/easy"] == growth.quota["Food/easy"] == 1


def test_where_the_teacher_is_unsure_there_is_no_mistake(tmp_path: Path) -> None:
    def unsure(request: Request) -> Any:
        if isinstance(request, ScoreRequest) and scored_text(str(request.prompt)) in TOOLS:
            return [-1.1, -1.0, -3.0]
        return obliging(request)

    _, growth = grown(tmp_path, script=unsure)
    assert growth.feedback is not None
    assert not growth.feedback.wrong
    assert sum(row.accepted for row in pool_rows(growth)) == 5
    _, growth = grown(tmp_path / "all", script=unsure, mistake_margin=0.0)
    assert growth.feedback is not None
    assert len(growth.feedback.wrong) == 4


def test_the_accept_selector_decides_about_pool_texts(tmp_path: Path) -> None:
    def half_sure(request: Request) -> Any:
        if isinstance(request, ScoreRequest) and scored_text(str(request.prompt)) == TOOLS[0]:
            return [-1.1, -1.0, -1.2]
        return obliging(request)

    strict = LabelAgreement(min_confidence=0.6, weighted=True)
    _, growth = grown(tmp_path, script=half_sure, acceptance=strict)
    (rejected,) = [row for row in pool_rows(growth) if not row.accepted]
    assert (rejected.text, rejected.reason) == (TOOLS[0], "confidence below 0.6")
    assert growth.rejected >= 1
    assert growth.feedback is not None
    assert rejected.id not in {one.id for one in growth.feedback.outcomes}
    assert all(row.weight == row.confidence for row in pool_rows(growth) if row.accepted)


def test_a_doubtful_label_counts_where_the_student_gives_it_too(tmp_path: Path) -> None:
    """The student of these tests takes tools for animals, and knows everything else."""

    def unsure(request: Request) -> Any:
        if not isinstance(request, ScoreRequest):
            return obliging(request)
        told = class_of(scored_text(str(request.prompt)))
        return [-0.9 if name == told else -1.2 for name in NAMES]

    confirming = LabelAgreement(agreement=False, min_confidence=0.9, student_confirms=True)
    _, growth = grown(tmp_path, script=unsure, acceptance=confirming)
    assert {row.text for row in growth.rows if not row.accepted and row.source == "pool"} == {
        *TOOLS
    }
    # The texts that it writes are confirmed by the same rule.
    written = [row for row in growth.rows if row.source in ("hard", "easy") and row.distribution]
    assert {row.accepted for row in written if row.target != "Tool"} == {True}
    assert {row.accepted for row in written if row.target == "Tool"} == {False}


def test_a_lost_label_costs_the_text_alone_and_it_is_not_asked_for_again(tmp_path: Path) -> None:
    from tutelage.teacher.base import Reply

    def losing(request: Request) -> Any:
        if isinstance(request, ScoreRequest) and scored_text(str(request.prompt)) == TOOLS[0]:
            return Reply(request.id, error="lost")
        return obliging(request)

    method, _, given = set_up(tmp_path, script=losing)
    growth = method.next_rows(Feedback(0, (), {}), 1)
    given.pool.append(growth.rows)
    (lost,) = [row for row in pool_rows(growth) if not row.accepted]
    assert (lost.text, lost.reason, growth.failed) == (TOOLS[0], "labelling failed: lost", 1)
    later = method.next_rows(Feedback(1, (), {}), 2)
    assert TOOLS[0] not in {row.text for row in pool_rows(later)}


def test_a_resumed_run_goes_on_with_the_texts_that_are_left(tmp_path: Path) -> None:
    method, _, given = set_up(tmp_path)
    given.pool.append(method.next_rows(Feedback(0, (), {}), 1).rows)
    direct = method.next_rows(Feedback(1, (), {}), 2)
    resumed, _, _ = set_up(tmp_path)
    resumed.load_state_dict(method.state_dict())
    again = resumed.next_rows(Feedback(1, (), {}), 2)
    assert again.rows == direct.rows
    used = {row.parents[0] for row in given.pool.rows if row.source == "pool"}
    assert used.isdisjoint(row.parents[0] for row in pool_rows(direct))
    assert len(pool_rows(direct)) == 5
    given.pool.append(direct.rows)
    assert [len(pool_rows(method.next_rows(Feedback(2, (), {}), 3)))] == [2]


def test_a_written_text_does_not_repeat_a_labelled_one(tmp_path: Path) -> None:
    def parroting(request: Request) -> Any:
        written = not isinstance(request, ScoreRequest) and request.id != "analysis"
        return f" {TOOLS[0]}" if written else obliging(request)

    _, growth = grown(tmp_path, script=parroting)
    assert {row.reason for row in growth.rows if row.source != "pool"} == {
        "exact duplicate of pool"
    }


def test_mixed_adds_the_last_texts_but_not_the_last_pool_texts(tmp_path: Path) -> None:
    learnt = replace(MIXED.wrong[0], id="learnt", source="pool")
    given = replace(MIXED, outcomes=(*MIXED.outcomes, learnt))
    _, growth = grown(tmp_path, given, feedback="mixed")
    assert growth.feedback is not None
    found = {one.id for one in growth.feedback.outcomes}
    assert found == {one.id for one in MIXED.outcomes} | {row.id for row in pool_rows(growth)}
    assert growth.feedback.per_class == TASK.scores(growth.feedback.outcomes)


def test_dev_shows_the_mistakes_on_dev(tmp_path: Path) -> None:
    wrong = tuple(
        Outcome(one.id, one.text, one.label or "", "Food", (0.1, 0.1, 0.8), "dev", 0) for one in DEV
    )
    teacher, growth = grown(
        tmp_path, replace(MIXED, dev=wrong), feedback="dev", n_wrong=9, n_correct=0
    )
    (analysis,) = teacher.analyses()
    shown = [one.text for one in DEV if one.text in str(analysis.prompt)]
    assert len(shown) == sum(one.label != "Food" for one in DEV)
    assert not pool_rows(growth)
    assert growth.feedback is None


def test_paid_labels_are_kept_where_the_budget_ends_before_the_texts(tmp_path: Path) -> None:
    method, teacher, _ = set_up(tmp_path)
    ask = teacher.ask

    def ask_for_labels_only(requests: Sequence[Request], on_reply: Any = None) -> Any:
        if not all(isinstance(request, ScoreRequest) for request in requests):
            raise BudgetExhausted("no tokens are left.")
        return ask(requests, on_reply)

    teacher.ask = ask_for_labels_only  # type: ignore[method-assign]
    growth = method.next_rows(Feedback(0, (), {}), 1)
    assert [row.source for row in growth.rows] == ["pool"] * 5
    assert growth.asked == 5


def test_a_plan_counts_labels_of_pool_texts(tmp_path: Path) -> None:
    method, _, _ = set_up(tmp_path)
    written, _, _ = set_up(tmp_path, feedback="generated")
    own, others = method.requests_a_round(), written.requests_a_round()
    assert own["labelling"] - others["labelling"] == 5
    assert {**own, "labelling": 0} == {**others, "labelling": 0}
    assert method.sample_requests(2)["analysis"][0].prompt


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_pool": 0}, "method.n_pool=0 labels no pool text"),
        ({"acquirer": None}, "Give acquire=random"),
        ({"separated": False}, "method.separated=false"),
        (
            {"feedback": "dev", "acquirer": UncertaintySampling("entropy")},
            "would never be asked. Give method.feedback=pool or acquire=none",
        ),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    given = {"feedback": "pool", "acquirer": UncertaintySampling("entropy"), **changes}
    with pytest.raises(ConfigError, match=message):
        make_evokd(**given)


def test_a_pool_is_needed(tmp_path: Path) -> None:
    method = make_evokd(feedback="pool", acquirer=UncertaintySampling("entropy"))
    with pytest.raises(ConfigError, match="no pool texts"):
        method.setup(context(tmp_path, WordTeacher(obliging)))


@pytest.mark.parametrize("old", ["true", "false"])
def test_the_switch_of_before_is_refused_with_the_choices(old: str) -> None:
    with pytest.raises(ConfigError, match="Available: dev, generated, mixed, none, pool"):
        compose_config(["method=evokd", f"method.feedback={old}"])


def test_the_shipped_recipe_labels_and_writes() -> None:
    config = compose_config(["experiment=evokd_pool"])
    settings = config.method.settings
    assert (settings["feedback"], settings["n_pool"]) == ("pool", 32)
    assert (settings["n_hard"], settings["n_easy"], settings["rounds"]) == (8, 0, 8)
    # All texts are for classes with mistakes, so one request can ask for several.
    assert settings["focus"] == 1.0
    assert config.acquire is not None
    assert config.acquire.kind == "RandomChoice"
    assert (config.student.head, config.student.pooling) == ("fitted", "normalized_mean")
    assert config.student.class_names
    # The teacher's own mistakes stay out, and a chat is shown more than the same shot.
    assert config.accept.settings["min_confidence"] == 0.8
    assert config.accept.settings["student_confirms"]
    assert settings["demonstrations"] == 3
