"""ZeroGen: texts from the classes' descriptions alone, before there is a student, and no gold."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.helpers.classification import (
    CONF,
    LABELS,
    NAMES,
    SHOTS,
    RecordedProgress,
    WordTeacher,
    context,
    evokd_settings,
    make_evokd,
    obliging,
    prompt_set,
)
from tests.helpers.methods import evokd
from tests.helpers.ner import TYPES
from tests.helpers.ner_teacher import WORDS, make_name

from tutelage.config.compose import compose_config
from tutelage.data.training_view import RoundView
from tutelage.errors import ConfigError
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.ner_candidates import SpanCandidates
from tutelage.labelling.ner_verify import SpanVerifier
from tutelage.methods.evokd.method import EvoKD
from tutelage.methods.generation.mentions import mentions_of
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.tasks.ner import NerTask
from tutelage.teacher.base import Request
from tutelage.teacher.wrappers.budget import BudgetedTeacher


def zerogen_settings(**changes: Any) -> dict[str, Any]:
    """What conf/method/zerogen.yaml changes of EvoKD's settings, small."""
    values = OmegaConf.to_container(OmegaConf.load(CONF / "method" / "zerogen.yaml"), resolve=True)
    assert isinstance(values, dict)
    return {
        **{str(key): value for key, value in values.items() if key not in ("defaults", "training")},
        "n_first": 12,
        **changes,
    }


def set_up(
    folder: Path, teacher: Any, recorded: RecordedProgress | None = None, **changes: Any
) -> EvoKD:
    method = make_evokd(**zerogen_settings(**changes))
    method.setup(context(folder, teacher, recorded=recorded, shots=()))
    return method


def test_every_text_is_written_up_front_from_its_class_alone(tmp_path: Path) -> None:
    recorded, teacher = RecordedProgress(), WordTeacher(obliging)
    growth = set_up(tmp_path, teacher, recorded).first_rows()
    assert Counter(row.asked for row in growth.rows) == dict.fromkeys(NAMES, 4)
    for row in growth.rows:
        assert (row.source, row.round, row.accepted, row.parents) == ("easy", 0, True, ())
        assert (row.target, row.distribution) == (row.asked, None)
    assert (growth.asked, growth.answered, growth.failed) == (12, 12, 0)
    assert recorded.phases == [("generation", 12)]
    assert teacher.scorings() == teacher.analyses() == []
    said = {f"Examples of {label.description}, each one different:\n1." for label in LABELS}
    assert {request.prompt for request in teacher.asked} == said
    assert len({request.seed for request in teacher.asked}) == 12


def test_there_is_no_round_after_it_and_the_student_trains_on_all_of_it(tmp_path: Path) -> None:
    method = set_up(tmp_path, WordTeacher(obliging))
    assert (method.name, method.rounds) == ("zerogen", 0)
    method_context = context(tmp_path / "other", None)
    method_context.pool.append(method.first_rows().rows)
    view = RoundView("all", 1, 0, 0, 1, "method=zerogen")
    assert len(view.rows(method_context.pool, 0)) == 12


def test_no_gold_is_used_and_the_manifest_can_say_so() -> None:
    from tutelage.config.build_fit import gold_for

    class NoData:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was asked for")

    assert gold_for(compose_config(["method=zerogen", "shots=5"]), NoData()) == ()  # type: ignore[arg-type]


def test_repeats_of_dev_and_of_itself_are_rejected(tmp_path: Path) -> None:
    growth = set_up(tmp_path, WordTeacher(lambda _: " the very same words again")).first_rows()
    assert [row.accepted for row in growth.rows] == [True, *[False] * 11]
    assert {row.reason for row in growth.rows[1:]} == {"exact duplicate of pool"}
    assert growth.rejected == 11


def test_a_plan_counts_the_first_rows(tmp_path: Path) -> None:
    teacher = WordTeacher(obliging)
    method = set_up(tmp_path, teacher)
    assert {kind: len(some) for kind, some in method.sample_requests(5).items()} == {
        "generation": 5
    }
    assert method.requests_a_round() == {"generation": 12}
    assert teacher.asked == []


def test_first_texts_stand_beside_shots_and_paraphrases_too(tmp_path: Path) -> None:
    method = make_evokd(n_first=6, n_init=2, demonstrations=1)
    method.setup(context(tmp_path, WordTeacher(obliging)))
    growth = method.first_rows()
    assert Counter(row.source for row in growth.rows) == {"gold": len(SHOTS), "init": 2, "easy": 6}
    assert all(row.parents[0].startswith("shot-") for row in growth.rows if row.source == "easy")
    assert {key: count for key, count in growth.quota.items() if key.endswith("/easy")} == {
        f"{name}/easy": 2 for name in NAMES
    }
    assert len({row.id for row in growth.rows}) == len(growth.rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_first": 0}, "starts from labelled shots, and shots=0 gives none"),
        ({"n_init": 3}, r"method.n_first=1 or more with method.n_init=0"),
        ({"n_first": -1}, r"method.n_first=-1 must be 0 or more"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        set_up(tmp_path, WordTeacher(obliging), **changes)


def test_a_budget_that_is_spent_before_the_texts_are_there_is_said(tmp_path: Path) -> None:
    spent = BudgetedTeacher(WordTeacher(obliging), 1)
    method = set_up(tmp_path, spent)
    method.first_rows()
    with pytest.raises(
        ConfigError,
        match=r"budget.tokens is smaller than the cost of the first 12 texts.*method.n_first",
    ):
        method.first_rows()


def ner_teacher(request: Request) -> str:
    """A name where one is asked for, else words."""
    rng = random.Random(request.seed)
    if "/" in request.id:
        return " " + make_name(
            {label.name: label.word for label in TYPES}[request.id.split("/")[0]], rng
        )
    return " " + " ".join(rng.sample(WORDS, 6))


def ner_standing(folder: Path, teacher: Any, **changes: Any) -> EvoKD:
    prompts = prompt_set("completion_ner", leads=["", "He met"])

    def labeller(task: Any, given: Any, demonstrations: Any) -> SpanVerifier:
        return SpanVerifier(
            given, task.labels, prompts, demonstrations, NoCalibration(), SpanCandidates(0)
        )

    settings = evokd_settings(**zerogen_settings(**changes))
    method = evokd(prompts=prompts, acceptance=LabelAgreement(), new_labeller=labeller, **settings)
    method.setup(context(folder, teacher, task=NerTask(TYPES), shots=(), dev=(), held_out=()))
    return method


def test_ner_sentences_go_on_from_invented_names(tmp_path: Path) -> None:
    teacher = WordTeacher(ner_teacher)
    growth = ner_standing(tmp_path, teacher).first_rows()
    assert growth.asked == len(teacher.asked) == 24
    names = [request for request in teacher.generations() if "/" in request.id]
    assert {request.prompt for request in names} == {
        f"A random list of names of {label.description}:\n-" for label in TYPES
    }
    for request, row in zip(
        [one for one in teacher.generations() if "/" not in one.id], growth.rows, strict=True
    ):
        heading, opening = request.prompt.splitlines()
        assert heading == "Sentences from different articles of an encyclopedia:"
        ((name, type),) = mentions_of(row.text, row.target)
        assert opening in (f"- {name}", f"- He met {name}")
        assert type == row.asked


def test_ner_names_serve_again_where_the_teacher_knows_few(tmp_path: Path) -> None:
    def poor(request: Request) -> str:
        return (
            {"PER": " Ada", "LOC": " Oz", "ORG": " Acme"}[request.id.split("/")[0]]
            if "/" in request.id
            else ner_teacher(request)
        )

    growth = ner_standing(tmp_path, WordTeacher(poor)).first_rows()
    assert {row.accepted for row in growth.rows} == {True}
    assert Counter(
        name for row in growth.rows for name, _ in mentions_of(row.text, row.target)
    ) == {"Ada": 4, "Oz": 4, "Acme": 4}
