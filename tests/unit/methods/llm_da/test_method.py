"""LLM-DA: variants of marked sentences, each made once, and every request counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.augmentation import (
    NER,
    NOTHING,
    SHOTS,
    grown,
    labeller,
    names_and_sentence,
    names_of,
    obliging,
    set_up,
    settings,
    shot_of,
)
from tests.helpers.classification import TASK, RecordedProgress, WordTeacher, context, prompt_set
from tests.helpers.methods import llm_da
from tests.helpers.ner import marked, scored_mention

from tutelage.errors import ConfigError
from tutelage.records import Row
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.teacher.base import Reply, Request, ScoreRequest


def test_there_are_fourteen_strategies_of_four_families() -> None:
    strategies = prompt_set("completion_ner").strategies
    assert len(strategies) == len(set(strategies.values())) == 14
    assert {"shorter", "synonyms", "voice", "news"} <= set(strategies)


def test_a_round_is_shared_evenly_over_the_modes_and_nothing_is_lost(tmp_path: Path) -> None:
    teacher, growth = grown(tmp_path, n_texts=18)
    assert Counter(row.detail["mode"] for row in growth.rows) == {
        "rewrite": 5,
        "replace": 5,
        "both": 4,
        "noise": 4,
    }
    assert {row.source for row in growth.rows} == {"easy"}
    assert sum(growth.quota.values()) == 18
    assert growth.asked == len(teacher.asked) == growth.answered + growth.failed
    assert growth.failed == 0
    assert growth.rejected == sum(not row.accepted for row in growth.rows)
    assert len({row.id for row in growth.rows}) == 18


def test_every_strategy_meets_every_shot_before_one_comes_again(tmp_path: Path) -> None:
    method, _ = set_up(tmp_path, modes=["rewrite"], n_texts=14)
    rows = [row for round in (1, 2, 3) for row in method.next_rows(NOTHING, round).rows]
    assert len({(row.parents, row.detail["strategy"]) for row in rows}) == 14 * len(SHOTS)


def test_with_separated_labels_the_first_type_is_checked_and_the_others_stay(
    tmp_path: Path,
) -> None:
    def doubtful(request: Request) -> Any:
        if isinstance(request, ScoreRequest) and scored_mention(request.prompt)[1] in (
            "Royal Pier",
            "Lake Quay",
        ):
            return [-4.0, -4.0, -4.0, -0.1]
        return obliging(request)

    _, growth = grown(tmp_path, doubtful, modes=["rewrite"], separated=True)
    by_shot = {shot_of(row).text[:5]: row for row in growth.rows}
    assert not by_shot["Royal"].accepted
    assert "Royal Pier" in by_shot["Royal"].text
    row = by_shot["then "]
    assert row.accepted
    assert set(names_of(row)) == {("Clara Dune", "PER"), ("Lake Quay", "LOC")}
    assert len(row.entity_confidence) == 2
    assert min(row.entity_confidence) < 0.1 < 0.9 < max(row.entity_confidence)


def test_repeats_and_dev_texts_are_rejected(tmp_path: Path) -> None:
    teacher = WordTeacher(lambda request: f" {names_and_sentence(request.prompt)[1]}")
    method = llm_da(
        prompts=prompt_set("completion_ner"),
        acceptance=LabelAgreement(),
        new_labeller=labeller,
        **settings(modes=["rewrite"]),
    )
    dev = f"{SHOTS[1].text} again"
    method.setup(
        context(tmp_path, teacher, task=NER, shots=SHOTS, dev=(), held_out=(("dev", dev),))
    )
    reasons = {row.reason for row in method.next_rows(NOTHING, 1).rows}
    assert reasons == {"exact duplicate of shots", "near duplicate of dev"}


def test_failed_requests_are_counted_and_cost_only_themselves(tmp_path: Path) -> None:
    def failing(request: Request) -> Any:
        return Reply(request.id, error="no") if request.id in ("0", "PER/0") else obliging(request)

    _, growth = grown(tmp_path, failing)
    assert growth.failed == 2
    assert growth.asked == growth.answered + 2
    assert growth.rejected == sum(not row.accepted for row in growth.rows) - 1


def test_a_resumed_method_goes_on_alike(tmp_path: Path) -> None:
    rounds: list[list[Row]] = []
    for resumed in (False, True):
        folder = tmp_path / str(resumed)
        folder.mkdir()
        teacher, method = WordTeacher(obliging), None
        for round in (1, 2, 3):
            if method is None or resumed:
                state = method.state_dict() if method else None
                method = llm_da(
                    prompts=prompt_set("completion_ner"),
                    acceptance=LabelAgreement(),
                    new_labeller=labeller,
                    **settings(),
                )
                stood = context(folder, teacher, task=NER, shots=SHOTS, dev=(), held_out=())
                method.setup(stood)
                if state:
                    method.load_state_dict(state)
            stood.pool.append(method.next_rows(NOTHING, round).rows)
        rounds.append(list(stood.pool.rows))
    assert rounds[0] == rounds[1]


def test_planning_asks_for_what_a_round_would(tmp_path: Path) -> None:
    method, teacher = set_up(tmp_path, separated=True)
    sample = method.sample_requests(3)
    assert teacher.asked == []
    counts = method.requests_a_round()
    assert set(sample) == set(counts) == {"generation", "names", "labelling"}
    assert {kind: len(requests) for kind, requests in sample.items()} == dict.fromkeys(counts, 3)
    method.next_rows(NOTHING, 1)
    sent = Counter(
        "names" if "/" in request.id else "generation" for request in teacher.generations()
    )
    assert sent["names"] == counts["names"]
    assert sent["generation"] == counts["generation"]


def test_the_first_rows_are_the_shots_and_phases_are_told(tmp_path: Path) -> None:
    recorded = RecordedProgress()
    method, _ = set_up(tmp_path, recorded=recorded, separated=True)
    assert [row.text for row in method.first_rows().rows] == [shot.text for shot in SHOTS]
    growth = method.next_rows(NOTHING, 1)
    assert [name for name, _ in recorded.phases] == [
        "calibration",
        "names",
        "generation",
        "labelling",
    ]
    assert sum(count for _, count in recorded.phases) == growth.asked == len(recorded.replies)


@pytest.mark.parametrize(
    ("changes", "stood", "message"),
    [
        ({}, {"task": TASK}, "this task has none. Give task=ner, or take method=evokd"),
        ({}, {"shots": ()}, "shots=0 gives none"),
        ({}, {"shots": (marked("no names here"),)}, "no shot has one"),
        ({}, {"teacher": None}, "needs a teacher"),
        ({"modes": []}, {}, "must name at least one mode"),
        ({"modes": ["noise", "noise"]}, {}, "none twice"),
        ({"n_texts": 0}, {}, "method.n_texts=0, so a round would make nothing"),
        (
            {"prompts": prompt_set("completion_ner", strategies={})},
            {},
            "prompt.strategies is empty, so LLM-DA cannot rewrite sentences",
        ),
        ({"noise_words": 0.0}, {}, r"method.noise_words=0.0 must be in \(0, 1\]"),
        ({"invented_names": 2.0}, {}, "method.invented_names=2.0"),
    ],
)
def test_what_cannot_be_grown(
    tmp_path: Path, changes: dict[str, Any], stood: dict[str, Any], message: str
) -> None:
    given = {"teacher": WordTeacher(obliging), "task": NER, "shots": SHOTS, "dev": (), **stood}
    made_of = {
        "prompts": prompt_set("completion_ner"),
        "acceptance": LabelAgreement(),
        "new_labeller": labeller,
        **settings(**changes),
    }
    with pytest.raises(ConfigError, match=message):
        llm_da(**made_of).setup(context(tmp_path, given.pop("teacher"), **given))
