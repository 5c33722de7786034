"""Pool methods, every selector and every loss in whole scripted runs, for both tasks."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.helpers.tasks import TaskSetup
from tests.helpers.tiny import grow, lines

from tutelage.config.folder import conf_directory
from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, TeacherError
from tutelage.records import Row
from tutelage.student.inference import load
from tutelage.student.peers import networks_of
from tutelage.student.pool_view import PredictionCache
from tutelage.teacher.base import Request
from tutelage.teacher.wrappers.prefetch import PrefetchingTeacher

SHORT = ("training.start_epochs=2",)
ON_DEMAND = (
    "method=llkd_on_demand",
    "method.first=8",
    "method.rounds=2",
    "method.n_texts=4",
    *SHORT,
    "training.round_epochs=1",
)
ACQUIRE = [
    "random",
    "class_balance",
    "entropy",
    "margin",
    "least_confidence",
    "k_means",
    "k_center",
    "badge",
    "dropout",
    "instability",
    "accept_reject",
    "mixed",
]
TRAIN = [
    "every_row",
    "llkd",
    "surest",
    "confident_uncertain",
    "small_loss",
    "gradient_similarity",
    "answer_difficulty",
    "spread",
    "dynamics",
    "confident_learning",
    "confirmed",
]
ACCEPT = ["scored", "agreement", "class_share", "confirmed"]
"""Tested in test_both_tasks.py."""
LOSSES = sorted(path.stem for path in (conf_directory() / "loss").glob("*.yaml"))


def rows(folder: Path) -> tuple[Row, ...]:
    return tuple(Pool.open(folder / "pool" / "rows.jsonl").rows)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_every_selector_is_here_or_beside():
    for group, here in (
        ("acquire", [*ACQUIRE, "none"]),
        ("select", TRAIN),
        ("accept", [*ACCEPT, "none"]),
    ):
        there = [path.stem for path in (conf_directory() / group).glob("*.yaml")]
        assert sorted(there) == sorted(here)


def test_llkd_labels_the_pool_once_and_tells_what_it_kept(kind: TaskSetup, workplace: Path):
    folder = workplace / "run"
    result = grow(folder, [*kind.base(), "method=llkd", "select=llkd", *SHORT])
    shares = result["share_of_data"]
    assert {row.source for row in rows(folder)} == {"pool"}
    assert len({row.parents[0] for row in rows(folder)}) == len(rows(folder)) == shares["pool"]
    assert result["rounds"] == 0
    steps = lines(folder / "selection.jsonl")
    assert (
        sum(sum(step["seen"].values()) for step in steps) == shares["passed"] == 2 * shares["pool"]
    )
    assert sum(sum(step["kept"].values()) for step in steps) == shares["kept"]
    assert 0 < shares["unique_rows"] <= shares["kept"] < shares["passed"]
    assert shares["unique"] == shares["unique_rows"] / shares["pool"]
    assert steps[-1]["unique_rows"] == shares["unique_rows"] >= steps[0]["unique_rows"]
    known = [step["right_of_seen"][1] for step in steps]
    assert sum(known) == shares["passed"], "the pool's gold is known here, for the report"
    assert all(len(step["tau_teacher"]) == len(step["tau_student"]) for step in steps)


def test_the_report_of_a_selecting_run_shows_what_was_kept(kind: TaskSetup, workplace: Path):
    from tutelage.report.html import write_report

    folder = workplace / "run"
    grow(folder, [*kind.base(), "method=llkd", "select=llkd", *SHORT])
    page = write_report(folder).read_text(encoding="utf-8")
    assert (folder / "figures" / "selection-by-step.png").is_file()
    assert 'id="selection"' in page
    assert "share of the pool ever trained on" in page


@pytest.mark.parametrize("method", ["full_pool", "static"])
def test_controls_learn_from_all_that_was_labelled(kind: TaskSetup, workplace: Path, method: str):
    overrides = ["method.first=9"] if method == "static" else []
    result = grow(workplace / "run", [*kind.base(), f"method={method}", *overrides, *SHORT])
    shares = result["share_of_data"]
    assert shares["selections"] == 1.0
    assert shares["unique_rows"] == (9 if method == "static" else shares["pool"])
    assert not (workplace / "run" / "selection.jsonl").exists()


@pytest.mark.parametrize("selector", ACQUIRE)
def test_each_acquisition_chooses_texts_without_a_label(
    kind: TaskSetup, workplace: Path, selector: str
):
    folder = workplace / "run"
    result = grow(folder, [*kind.base(), *ON_DEMAND, f"acquire={selector}"])
    made = rows(folder)
    assert [sum(row.round == round for row in made) for round in (0, 1, 2)] == [8, 4, 4]
    assert len({row.parents[0] for row in made}) == 16
    assert all(
        float(row.detail["acquisition"]) == float(row.detail["acquisition"])
        for row in made
        if row.round
    )
    assert result["share_of_data"]["unique"] <= 16 / result["share_of_data"]["pool"]


def test_labels_that_are_asked_ahead_change_nothing_but_the_time(
    kind: TaskSetup, workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    ahead: list[int] = []
    ask_ahead = PrefetchingTeacher._ask_ahead

    def noted(teacher: PrefetchingTeacher, requests: list[Request]) -> None:
        ahead.append(len(requests))
        ask_ahead(teacher, requests)

    monkeypatch.setattr(PrefetchingTeacher, "_ask_ahead", noted)
    overrides = [*kind.base(), *ON_DEMAND, "acquire=random"]
    plain = grow(workplace / "plain", [*overrides, "teacher.cache=a.sqlite"])
    found = grow(
        workplace / "ahead", [*overrides, "teacher.cache=b.sqlite", "training.prefetch=true"]
    )
    assert len(ahead) == 2
    assert min(ahead) > 0
    for key in ("pool_hash", "after", "tokens"):
        assert found[key] == plain[key], key


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["method=llkd"], "method=llkd with method.rounds=0 has no later round"),
        ([*ON_DEMAND, "acquire=entropy"], "the acquire selector asks the student"),
        (["method=llmaaa"], "the demonstrations are chosen by the student"),
        (["method=evokd"], "method.feedback=generated labels no pool texts"),
        (["method=shots"], "method=shots asks no teacher"),
        ([*ON_DEMAND, "acquire=random", "teacher.cache=null"], "teacher.cache=null has none"),
    ],
)
def test_a_run_with_nothing_to_ask_ahead_says_so(
    kind: TaskSetup, workplace: Path, overrides: list[str], why: str
):
    with pytest.raises(ConfigError, match=re.escape(why)):
        grow(workplace / "run", [*kind.base(), *overrides, "training.prefetch=true"])


@pytest.mark.parametrize("kind", ["ner"], indirect=True)
def test_a_method_that_knows_no_request_before_asks_nothing_ahead(kind: TaskSetup, workplace: Path):
    with pytest.raises(ConfigError, match="llm_da knows no request of a round before it begins"):
        grow(workplace / "run", [*kind.base(), "method=llm_da", "training.prefetch=true"])


def test_the_student_that_chooses_is_the_one_that_has_just_trained(
    kind: TaskSetup, workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    overrides = [
        *kind.base(),
        *ON_DEMAND,
        "acquire=entropy",
        "select=every_row",
    ]
    grow(workplace / "run", overrides)
    # Predictions for a text are shared within a round, and never across rounds.
    monkeypatch.setattr(PredictionCache, "fetch", lambda self, texts, run: run(texts))
    grow(workplace / "apart", overrides)
    assert rows(workplace / "run") == rows(workplace / "apart")


@pytest.mark.parametrize("selector", TRAIN)
def test_each_train_selector_chooses_among_pool_rows_and_shots(
    kind: TaskSetup, workplace: Path, selector: str
):
    overrides = ["method=full_pool", "method.train_on_shots=true", f"select={selector}", *SHORT]
    if selector == "confirmed":  # The scripted teacher is sure of every label.
        overrides.append("select.min_confidence=1")
    result = grow(workplace / "run", [*kind.base(), *overrides])
    shares = result["share_of_data"]
    assert 0 < shares["kept"] <= shares["passed"] == 2 * shares["pool"]
    assert (shares["kept"] == shares["passed"]) is (selector in ("every_row", "dynamics"))


def test_the_dynamics_weigh_rows_from_the_second_epoch_on(kind: TaskSetup, workplace: Path):
    grow(workplace / "run", [*kind.base(), "method=full_pool", "select=dynamics", *SHORT])
    first, second = (
        [step for step in lines(workplace / "run" / "selection.jsonl") if step["epoch"] == epoch]
        for epoch in (0, 1)
    )
    assert {weight for step in first for weight in step["rows"].values()} == {1.0}
    weights = [weight for step in second for weight in step["rows"].values()]
    assert 0 < min(weights) < max(weights) < 1
    assert all(step["variability"] == 0.0 for step in second), "one epoch has no deviation yet"


def test_two_networks_weigh_rows_for_each_other_and_predict_together(
    kind: TaskSetup, workplace: Path
):
    folder = workplace / "run"
    overrides = ["method=full_pool", "select=dynamics", "student.peers=2", *SHORT]
    grow(folder, [*kind.base(), *overrides])
    second = [step for step in lines(folder / "selection.jsonl") if step["epoch"] == 1]
    assert 0 < min(weight for step in second for weight in step["rows"].values()) < 1
    student = load(folder)
    assert len(networks_of(student.network)) == 2
    # What was measured is what the saved student predicts.
    if kind.task == "classification":
        measured = lines(folder / "predictions" / "test-after.jsonl")
        predicted = student.predict([one["text"] for one in measured])
        for one, record in zip(measured, predicted, strict=True):
            assert record["label"] == one["predicted"]
            assert record["probabilities"][one["predicted"]] == pytest.approx(
                max(one["probabilities"]), abs=2e-3
            )


@pytest.mark.parametrize("kind", ["classification"], indirect=True)
def test_an_ensemble_s_agreement_can_select(kind: TaskSetup, workplace: Path):
    overrides = ["method=full_pool", "labelling=ensemble", "select=surest", "select.share=0.5"]
    result = grow(
        workplace / "run",
        [*kind.base(), *overrides, "select.confidence=agreement", *SHORT],
    )
    labelled = [row.distribution for row in rows(workplace / "run") if row.distribution]
    assert labelled
    assert all(one.disagreement is not None for one in labelled)
    assert 0 < result["share_of_data"]["kept"] < result["share_of_data"]["passed"]


@pytest.fixture(scope="module")
def whole(kind: TaskSetup, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """LLKD's steps without ablation."""
    return gated(kind, tmp_path_factory.mktemp("whole") / "run", "none")


def gated(kind: TaskSetup, folder: Path, ablation: str, *overrides: str) -> list[dict[str, Any]]:
    """The steps of an LLKD run."""
    grow(
        folder,
        [
            *kind.base(),
            "method=llkd",
            "training.start_epochs=4",
            f"ablation={ablation}",
            *overrides,
        ],
    )
    return lines(folder / "selection.jsonl")


def kept(step: dict[str, Any]) -> int:
    return sum(step["kept"].values())


@pytest.mark.parametrize("gate", ["teacher", "student"])
def test_without_a_gate_llkd_s_thresholds_are_the_same_and_more_rows_pass(
    kind: TaskSetup, workplace: Path, gate: str
):
    # The scripted teacher is equally confident about all names, so a moving mean rejects none.
    overrides = ["select=llkd", "select.teacher_share=0.5"]
    whole, ablated = (
        gated(kind, workplace / name, name, *overrides) for name in ("none", f"no_{gate}_gate")
    )
    first, alike = ablated[0], whole[0]
    assert [first[key] for key in ("seen", "tau_teacher", "tau_student")] == [
        alike[key] for key in ("seen", "tau_teacher", "tau_student")
    ]
    assert all(first["kept"].get(key, 0) >= count for key, count in alike["kept"].items())
    assert sum(map(kept, ablated)) > sum(map(kept, whole))


def test_without_weights_llkd_s_rows_all_weigh_1(
    kind: TaskSetup, whole: list[dict[str, Any]], workplace: Path
):
    ablated = gated(kind, workplace / "run", "no_weights")
    assert ablated[0]["kept"] == whole[0]["kept"]
    assert {step["weight"] for step in ablated if kept(step)} == {1.0}
    assert all(step["weight"] < 1.0 for step in whole if kept(step))


def test_with_global_thresholds_llkd_s_classes_have_the_same(
    kind: TaskSetup, whole: list[dict[str, Any]], workplace: Path
):
    ablated = gated(kind, workplace / "run", "global_thresholds")
    for name in ("tau_teacher", "tau_student"):
        assert all(len({*step[name]} - {None}) == 1 for step in ablated)
        assert any(len({*step[name]} - {None}) > 1 for step in whole)


def test_a_fixed_share_keeps_a_quarter_of_each_class_in_every_epoch(
    kind: TaskSetup, workplace: Path
):
    ablated = gated(kind, workplace / "run", "fixed_share")
    assert not any("tau_teacher" in step for step in ablated)
    for epoch in range(4):
        seen, chosen = Counter[str](), Counter[str]()
        for step in (step for step in ablated if step["epoch"] == epoch):
            seen.update(step["seen"])
            chosen.update(step["kept"])
        assert chosen == {key: math.ceil(count / 4) for key, count in seen.items()}


def test_llkd_may_go_by_the_student_s_labels(
    kind: TaskSetup, whole: list[dict[str, Any]], workplace: Path
):
    grow(
        workplace / "run",
        [*kind.base(), "method=llkd", "select=llkd", "select.class_by=student", *SHORT],
    )
    steps = lines(workplace / "run" / "selection.jsonl")
    assert steps[0]["seen"] == whole[0]["seen"], "what is counted by class stays the teacher's"
    assert 0 < sum(map(kept, steps)) < sum(sum(step["seen"].values()) for step in steps)
    assert [step["tau_teacher"] for step in steps] != [step["tau_teacher"] for step in whole]


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_trains_on_the_teacher_s_labels(kind: TaskSetup, workplace: Path, loss: str):
    result = grow(workplace / "run", [*kind.base(), "method=full_pool", f"loss={loss}", *SHORT])
    (measured,) = lines(workplace / "run" / "metrics.jsonl")
    assert measured["train_loss"] == measured["train_loss"]
    assert result["share_of_data"]["unique"] == 1.0


def test_llkd_s_gates_choose_among_generated_rows(kind: TaskSetup, workplace: Path):
    overrides = ["select=llkd", "accept=scored"]
    result = grow(workplace / "run", [*kind.base(), *kind.evokd, *overrides])
    shares = result["share_of_data"]
    assert shares["unique"] is None, "EvoKD draws from no pool"
    assert 0 < shares["kept"] < shares["passed"]
    assert 0 < shares["unique_rows"] <= shares["offered"] <= result["rows"]["accepted"]
    assert shares["used_of_offered"] == shares["unique_rows"] / shares["offered"]


def test_full_batches_are_gathered_from_what_is_kept(kind: TaskSetup, workplace: Path):
    overrides = [
        "method=llkd",
        "select=llkd",
        "select.refill=true",
        # Compares the states of the gathered batch, not those of the batch that it was chosen from.
        "loss=contrastive",
        "training.start_epochs=300",
        "training.start_max_steps=3",
    ]
    grow(workplace / "run", [*kind.base(), *overrides])
    size = yaml.safe_load((workplace / "run" / "config.yaml").read_text(encoding="utf-8"))[
        "student"
    ]["batch_size"]
    gathered, steps = 0, lines(workplace / "run" / "selection.jsonl")
    for step in steps:
        gathered += sum(step["kept"].values())
        assert step["steps"] == min(gathered // size, 3), (
            "a step is made when a batch is full, and not before"
        )
    assert steps[-1]["steps"] == 3
    assert len(steps) > 3, "one batch is not enough for a step"


def test_a_killed_llkd_run_ends_as_the_undisturbed_one(kind: TaskSetup, workplace: Path):
    by_student = ["labelling.candidates=[capitals,student]"] if kind.task == "ner" else []
    overrides = [*ON_DEMAND, "acquire=entropy", *by_student]
    whole = grow(workplace / "whole", [*kind.base(), *overrides, "teacher.cache=a.sqlite"])
    with pytest.raises(TeacherError, match="the engine died"):
        grow(
            workplace / "run",
            [
                *kind.base(dies_after=whole["requests"]["all"] - 2),
                *overrides,
                "teacher.cache=b.sqlite",
            ],
        )
    again = grow(
        workplace / "run", [*kind.base(), *overrides, "teacher.cache=b.sqlite", "resume=true"]
    )
    for key in ("pool_hash", "after", "rows", "share_of_data"):
        assert again[key] == whole[key], key
    assert lines(workplace / "run" / "selection.jsonl") == lines(
        workplace / "whole" / "selection.jsonl"
    )
    asked = [
        line["request"]["prompt"].rpartition('\n"')[2]
        for line in lines(workplace / "whole" / "teacher" / "transcript.jsonl")
    ]
    assert any(mention[0].islower() for mention in asked) is (kind.task == "ner"), (
        "what the student marks is asked about too"
    )


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["method=llkd", "accept=class_share"],
            "accept=class_share decides about generated texts, and method=llkd has no such stage",
        ),
        (
            ["method=evokd", "acquire=entropy"],
            r"method=evokd with method\.feedback=generated labels no pool text",
        ),
        (
            ["method=static", "acquire=entropy"],
            r"method=static has 0 rounds.*Give method\.rounds=4",
        ),
        (["method=static", "method.first=0"], "leave the student nothing to begin with"),
        (["method=llkd_on_demand", "method.n_texts=0"], "method.n_texts=0 would label nothing"),
        (
            ["method=llkd", "budget.tokens=500"],
            "budget.tokens is smaller than the cost of the first",
        ),
    ],
)
def test_what_cannot_work_is_told(
    kind: TaskSetup, workplace: Path, overrides: list[str], said: str
):
    with pytest.raises(ConfigError, match=said):
        grow(workplace / "run", [*kind.base(), *overrides])
