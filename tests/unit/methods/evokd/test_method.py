"""EvoKD as a whole: what it asks, what it shows, and what each ablation takes away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.classification import (
    ANALYSIS,
    DEV,
    MIXED,
    NAMES,
    SHOTS,
    RecordedProgress,
    WordTeacher,
    context,
    feedback,
    grown,
    make_evokd,
    make_text,
    obliging,
    prompt_set,
    requested_label,
)

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft
from tutelage.labelling.calibration import BatchCalibration, TemperatureCalibration
from tutelage.records import Feedback, LabelDistribution, Outcome
from tutelage.teacher.base import GenerateRequest, Reply, Request


def test_more_samples_are_generated_for_the_classes_whose_f1_is_low(tmp_path: Path) -> None:
    _, teacher, growth = grown(tmp_path, n_hard=20, n_easy=20)
    asked = Counter(requested_label(request.prompt) for request in teacher.generations())
    assert MIXED.per_class["Tool"].f1 < min(
        MIXED.per_class["Animal"].f1, MIXED.per_class["Food"].f1
    )
    assert asked["Tool"] > asked["Animal"] >= asked["Food"]
    assert sum(asked.values()) == 40
    assert growth.quota["Tool/hard"] > growth.quota["Food/hard"]
    assert sum(count for key, count in growth.quota.items() if key.endswith("/easy")) == 20


def test_another_weakness_draws_the_round_elsewhere(tmp_path: Path) -> None:
    weak_on_food = feedback({"Animal": 6, "Tool": 6}, {("Food", "Tool"): 6})
    _, teacher, _ = grown(tmp_path, weak_on_food, n_hard=20, n_easy=20)
    asked = Counter(requested_label(request.prompt) for request in teacher.generations())
    assert asked.most_common(1)[0][0] == "Food"
    assert asked["Food"] > max(asked["Animal"], asked["Tool"]) + 5


def test_the_analysis_is_shown_the_mistakes(tmp_path: Path) -> None:
    _, teacher, growth = grown(tmp_path)
    (request,) = teacher.analyses()
    assert growth.prompt == request.prompt
    shown = [one for one in MIXED.wrong if one.text in request.prompt]
    assert len(shown) == 4
    assert any("is about tool, but it said animal" in line for line in request.prompt.splitlines())
    assert sum(one.text in request.prompt for one in MIXED.correct) == 4
    assert request.sampling.temperature == 0.0
    assert growth.analysis == f"{ANALYSIS}."


@pytest.mark.parametrize(
    ("said", "analysis"),
    [
        (f"<think>hm</think> {ANALYSIS}.", f"{ANALYSIS}."),
        (f" {ANALYSIS}.<|im_end|>", f"{ANALYSIS}."),
        ("<think> it gets", ""),
        ("I'm sorry, but I can't help with that.", ""),
        ("\ud83d" + "(" * 5000, "\ud83d" + "(" * 5000),
    ],
)
def test_an_analysis_is_taken_out_of_the_reply(tmp_path: Path, said: str, analysis: str) -> None:
    def script(request: Request) -> Any:
        return said if request.id == "analysis" else obliging(request)

    assert grown(tmp_path, script=script)[2].analysis == analysis


def test_hard_prompts_hold_the_analysis_and_a_misclassified_text(tmp_path: Path) -> None:
    _, teacher, growth = grown(tmp_path)
    assert teacher.asked[0] is teacher.analyses()[0]
    hard = [request.prompt for request in teacher.generations() if ANALYSIS in request.prompt]
    easy = [request.prompt for request in teacher.generations() if ANALYSIS not in request.prompt]
    assert (len(hard), len(easy)) == (6, 6)
    for_tool = [prompt for prompt in hard if requested_label(prompt) == "Tool"]
    assert for_tool
    for prompt in for_tool:
        assert any(one.text in prompt for one in MIXED.wrong if one.target == "Tool")
        assert "not questions about an animal" in prompt
    for prompt in easy:
        assert not any(one.text in prompt for one in MIXED.wrong)
    for row in growth.rows:
        if row.source == "hard" and row.asked == "Tool":
            assert set(row.parents) & {one.id for one in MIXED.wrong}


def test_confident_mistakes_and_the_report_are_options(tmp_path: Path) -> None:
    _, teacher, _ = grown(tmp_path, n_confident=2, class_report=True, n_wrong=1)
    (request,) = teacher.analyses()
    assert sum(one.text in request.prompt for one in MIXED.wrong) == 3
    assert "F1 and number of texts by topic:\n- animal: " in request.prompt
    plain = grown(tmp_path / "plain")[1]
    assert "F1 and number of texts" not in plain.analyses()[0].prompt
    assert not any("F1 and number" in request.prompt for request in plain.generations())


def test_every_request_is_accounted_for(tmp_path: Path) -> None:
    def script(request: Request) -> Any:
        if isinstance(request, GenerateRequest) and request.id in ("1", "7"):
            return Reply(request.id, error="lost")
        return (
            " short"
            if request.id == "3" and isinstance(request, GenerateRequest)
            else obliging(request)
        )

    recorded = RecordedProgress()
    _, teacher, growth = grown(tmp_path, script=script, recorded=recorded)
    assert growth.asked == len(teacher.asked) == len(recorded.replies) == 1 + 12 + 9
    assert growth.failed == 2
    assert growth.answered == growth.asked - growth.failed
    assert len(growth.rows) == 12
    assert growth.rejected == sum(not row.accepted for row in growth.rows) - growth.failed == 1
    assert recorded.phases == [("analysis", 1), ("generation", 12), ("labelling", 9)]
    assert set(growth.seconds) == {"analysis", "generation", "labelling"}


def test_a_failed_analysis_costs_only_itself(tmp_path: Path) -> None:
    def script(request: Request) -> Any:
        return Reply(request.id, error="lost") if request.id == "analysis" else obliging(request)

    _, teacher, growth = grown(tmp_path, script=script)
    assert (growth.analysis, growth.failed, growth.asked) == ("", 1, 25)
    assert growth.prompt == teacher.analyses()[0].prompt
    assert all("Note:" not in request.prompt for request in teacher.generations())
    assert all(row.accepted for row in growth.rows)


def test_no_outcomes_ask_for_no_analysis(tmp_path: Path) -> None:
    _, teacher, growth = grown(tmp_path, feedback({}, {}))
    assert teacher.analyses() == []
    assert growth.prompt == ""
    assert len(growth.rows) == 12


def test_texts_that_repeat_dev_the_shots_or_themselves_are_rejected(tmp_path: Path) -> None:
    said = {
        "0": DEV[0].text,
        "1": SHOTS[0].text.upper(),
        "2": make_text("Tool", 1),
        "3": make_text("Tool", 1),
        "4": make_text("Tool", 1)[:-1] + "!",
    }

    def script(request: Request) -> Any:
        return (
            said[request.id]
            if isinstance(request, GenerateRequest) and request.id in said
            else obliging(request)
        )

    _, _, growth = grown(tmp_path, script=script)
    reasons = [row.reason for row in growth.rows[:5]]
    assert reasons[0] == "exact duplicate of dev"
    assert reasons[1] == "normalised duplicate of shots"
    assert "duplicate" not in reasons[2]
    assert reasons[3] == "exact duplicate of pool"
    assert reasons[4].endswith("duplicate of pool")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_seed_asks_the_same(tmp_path: Path, seed: int) -> None:
    styles = {"styles": {"tone": ["polite", "curt"], "length": ["short", ""]}}
    first, again, other = (
        grown(tmp_path, seed=given, **styles)[1].asked for given in (seed, seed, seed + 1)
    )
    assert first == again
    assert first != other
    prompts = {request.prompt for request in first}
    assert prompts != {request.prompt for request in other}


def test_rounds_draw_anew(tmp_path: Path) -> None:
    seeds = [
        {request.seed for request in grown(tmp_path, round=round)[1].generations()}
        for round in (1, 2)
    ]
    assert len(seeds[0]) == len(seeds[1]) == 12
    assert not seeds[0] & seeds[1]


def test_styles_are_cells_of_the_grid(tmp_path: Path) -> None:
    _, teacher, growth = grown(
        tmp_path, styles={"tone": ["polite", "curt"], "length": ["short", ""]}, n_hard=30, n_easy=30
    )
    assert {row.detail.get("style", "") for row in growth.rows} == {
        "polite, short",
        "polite",
        "curt, short",
        "curt",
    }
    assert any("(curt, short)" in request.prompt for request in teacher.generations())


def test_a_resumed_method_rejects_the_same_duplicates(tmp_path: Path) -> None:
    texts = [make_text(name, n) for n, name in enumerate([*NAMES, *NAMES])]

    def repeating(request: Request) -> Any:
        """Say each of a few texts twice, some of them of another class."""
        if isinstance(request, GenerateRequest) and request.id != "analysis":
            return texts[int(request.id) % len(texts)]
        return obliging(request)

    teacher = WordTeacher(repeating)
    method = make_evokd()
    method_context = context(tmp_path, teacher)
    method.setup(method_context)
    first = method.next_rows(MIXED, 1)
    method_context.pool.append(first.rows)
    undisturbed = method.next_rows(MIXED, 2)
    resumed = make_evokd()
    resumed.setup(context(tmp_path, WordTeacher(repeating)))
    again = resumed.next_rows(MIXED, 2)
    assert again.rows == undisturbed.rows
    assert {row.reason for row in again.rows} == {"exact duplicate of pool"}
    assert {row.reason for row in first.rows} >= {
        "",
        "exact duplicate of pool",
        "scored label is not the one asked for",
    }


def test_a_resumed_calibrator_goes_on_alike(tmp_path: Path) -> None:
    teacher = WordTeacher(obliging)
    method = make_evokd(calibrator=BatchCalibration())
    method_context = context(tmp_path, teacher)
    method.setup(method_context)
    method_context.pool.append(method.next_rows(MIXED, 1).rows)
    state = method.state_dict()
    undisturbed = method.next_rows(MIXED, 2)
    resumed = make_evokd(calibrator=BatchCalibration())
    resumed.setup(context(tmp_path, WordTeacher(obliging)))
    resumed.load_state_dict(state)
    assert resumed.next_rows(MIXED, 2).rows == undisturbed.rows


def test_texts_that_were_cut_are_counted_over_a_resume(tmp_path: Path) -> None:
    long = [replace(SHOTS[0], text="animal " * 2000), *SHOTS[1:]]
    method, resumed = make_evokd(), make_evokd()
    for one in (method, resumed):
        one.setup(context(tmp_path, WordTeacher(obliging), shots=tuple(long)))
    method.next_rows(MIXED, 1)
    assert method.truncated == 1
    resumed.load_state_dict(method.state_dict())
    assert resumed.truncated == 1
    resumed.next_rows(MIXED, 2)
    assert resumed.truncated == 1


def test_the_first_rows_are_the_shots(tmp_path: Path) -> None:
    teacher = WordTeacher(obliging)
    method = make_evokd()
    method.setup(context(tmp_path, teacher))
    growth = method.first_rows()
    assert [row.text for row in growth.rows] == [shot.text for shot in SHOTS]
    assert {row.source for row in growth.rows} == {"gold"}
    assert (growth.asked, teacher.asked) == (0, [])
    assert method.calibration_labels == 0


def test_n_init_adds_paraphrases_of_the_shots(tmp_path: Path) -> None:
    teacher = WordTeacher(obliging)
    method = make_evokd(n_init=8)
    method.setup(context(tmp_path, teacher))
    growth = method.first_rows()
    written = growth.rows[len(SHOTS) :]
    assert len(written) == 8
    assert {row.source for row in written} == {"init"}
    assert all(row.round == 0 and row.accepted for row in written)
    assert growth.asked == growth.answered == 16
    parents = Counter(row.parents[0] for row in written)
    assert set(parents) == {f"gold-{shot.id}" for shot in SHOTS}
    assert max(parents.values()) - min(parents.values()) <= 1
    for request, row in zip(teacher.generations(), written, strict=True):
        shot = next(shot for shot in SHOTS if f"gold-{shot.id}" == row.parents[0])
        assert row.detail["prompt"] == prompt_set().version("paraphrase")
        assert shot.text in request.prompt
        assert row.asked == shot.label
    assert sum(count for key, count in growth.quota.items() if key.endswith("/init")) == 8


def test_a_fitted_calibrator_counts_its_gold(tmp_path: Path) -> None:
    method = make_evokd(calibrator=TemperatureCalibration())
    recorded = RecordedProgress()
    method.setup(context(tmp_path, WordTeacher(obliging), recorded=recorded))
    method.first_rows()
    assert method.calibration_labels == len(DEV)
    assert method.state_dict()["gold"] == len(DEV)
    assert recorded.phases[0][0] == "calibration"


def test_planning_asks_for_what_a_round_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = WordTeacher(obliging)
    method = make_evokd()
    method.setup(context(tmp_path, teacher))
    sample = method.sample_requests(4)
    assert teacher.asked == []
    assert {kind: len(requests) for kind, requests in sample.items()} == {
        "generation": 4,
        "labelling": 4,
        "analysis": 1,
    }
    assert method.requests_a_round() == {"generation": 12, "labelling": 12, "analysis": 1}
    # Entities have many requests per text: a plan asks few, and builds those of few texts.
    method.setup(context(tmp_path, teacher, dev=DEV * 50))
    drafted: list[int] = []

    def three_each(drafts: Sequence[Draft]) -> list[Request]:
        drafted.append(len(drafts))
        return [request for request in sample["labelling"][:1] for _ in range(3 * len(drafts))]

    monkeypatch.setattr(method._labeller, "requests", three_each)
    assert len(method.sample_requests(4)["labelling"]) == 4
    assert method.requests_a_round()["labelling"] == 36
    assert drafted == [4, 100]
    static = make_evokd(feedback="none", separated=False)
    static.setup(context(tmp_path, teacher))
    assert set(static.sample_requests(4)) == set(static.requests_a_round()) == {"generation"}


@pytest.mark.parametrize(
    ("changes", "context_changes", "message"),
    [
        ({"names_a_text": 0}, {}, "method.names_a_text=0 must be 1 or more"),
        ({"n_hard": 0, "n_easy": 0}, {}, r"n_hard and method.n_easy are both 0.*method=shots"),
        ({}, {"teacher": None}, "needs a teacher"),
        ({}, {"shots": ()}, "starts from labelled shots, and shots=0 gives none"),
        (
            {"init": "llm_da"},
            {},
            "method.init=llm_da keeps the entities of sentences, and this task has none",
        ),
        ({"min_words": 9, "max_words": 3}, {}, "min_words=9 and method.max_words=3"),
    ],
)
def test_what_cannot_be_grown(
    tmp_path: Path, changes: dict[str, Any], context_changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_evokd(**changes).setup(
            context(
                tmp_path, context_changes.pop("teacher", WordTeacher(obliging)), **context_changes
            )
        )


def test_mistakes_that_the_teacher_does_not_vouch_for_are_not_aimed_at(tmp_path: Path) -> None:
    method = make_evokd(mistake_margin=0.5)
    method_context = context(tmp_path, WordTeacher(obliging))
    method.setup(method_context)
    rows = [row for row in method.next_rows(MIXED, 1).rows if row.target == "Tool"][:2]
    doubtful = replace(rows[1], distribution=LabelDistribution(NAMES, (0.3, 0.4, 0.3), 0.0))
    method_context.pool.append([rows[0], doubtful])
    mistakes = [
        Outcome(row.id, row.text, "Tool", "Animal", (0.6, 0.2, 0.2), "hard", 1) for row in rows
    ]
    given = Feedback(1, tuple(mistakes), MIXED.per_class)
    aimed = method.aimed_at(given)
    assert [one.id for one in aimed.outcomes] == [rows[0].id]
    growth = method.next_rows(aimed, 2)
    assert rows[0].text in growth.prompt
    assert rows[1].text not in growth.prompt
