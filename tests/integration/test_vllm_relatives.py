"""A tiny run of every relative on the real vLLM, for both tasks, through one shared engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.real_runs import SMALL_ENGINE, snips, wikigold
from tests.helpers.tiny import accuracies, grow, lines

from tutelage.audit.command import audit
from tutelage.config.folder import conf_directory
from tutelage.data.pool import Pool
from tutelage.teacher.engines.shared import ADDRESS, EngineHost

pytestmark = pytest.mark.vllm

SHORT = ("training.start_epochs=1", "training.round_epochs=1")
WRITES = (
    *("method.rounds=1", "method.n_hard=3", "method.n_easy=3", "method.max_tokens=24"),
    *("method.n_wrong=2", "method.n_correct=2", "accept=scored", "method.mistake_margin=0"),
)
"""One round of six texts, every one of which is kept and every mistake believed."""


LABELS = ("method=full_pool", "method.pool_size=6", "method.train_on_shots=true")
"""Six labels of the pool, beside the shots."""
CLASSES = ("classification",)


@dataclass(frozen=True)
class Case:
    """A method, or a part of others, with one or two tiny rounds.

    Attributes:
        overrides: The overrides of the run.
        writes: The teacher writes texts.
        labels: The teacher labels texts of the pool. Without either it is never asked.
        tasks: The tasks of the method.
    """

    overrides: tuple[str, ...]
    writes: bool = False
    labels: bool = False
    tasks: tuple[str, ...] = ("classification", "ner")


METHODS = {
    "zerogen": Case(("method.n_first=8", "method.max_tokens=24"), writes=True),
    "static": Case(("method.first=6",), labels=True),
    "pgkd": Case((*WRITES, "method.analysis_tokens=24"), writes=True),
    "elad": Case(
        (*WRITES, "method.n_pool=4", "method.pool_size=12", "acquire.copies=2"),
        writes=True,
        labels=True,
    ),
    "reversegen": Case((*WRITES, "method.texts_per_arm=2"), writes=True),
    "curate_train_refine": Case((*WRITES, "method.n_first=8"), writes=True),
    "llmaaa": Case(
        ("method.first=4", "method.rounds=1", "method.n_texts=3", "method.demonstrations=2"),
        labels=True,
    ),
    "freeal": Case(
        ("method.pool_size=6", "method.rounds=1", "method.a_class=2", "method.nearest=2"),
        labels=True,
    ),
    "llm_da": Case(
        ("method.rounds=1", "method.n_texts=4", "method.max_tokens=24"), writes=True, tasks=("ner",)
    ),
    "eda": Case(("method.n_texts=2",)),
    "pseudo_labels": Case(
        ("method.rounds=1", "method.n_texts=4", "method.min_confidence=0", "method.pool_size=20")
    ),
}
PARTS = {
    "boosted": Case(
        (
            *(*LABELS, "shots=3", "labelling=boosted"),
            *("labelling.learners=2", "labelling.rule_examples=4"),
        ),
        labels=True,
        tasks=CLASSES,
    ),
    "predictive demonstrations": Case(
        (*LABELS, "labelling.demonstrations=predictive", "labelling.max_demonstrations=3"),
        labels=True,
        tasks=CLASSES,
    ),
    # One text per class in each of two rounds; the second round is shown texts of the first.
    "seed policy": Case(
        (
            *("method=evokd", *WRITES, "method.rounds=2", "method.n_hard=0", "method.n_easy=7"),
            *("method.focus=0", "method.seeds=tree"),
        ),
        writes=True,
    ),
    "own shots": Case(
        (
            *("method=freeal", "training.gold=none", "method.pool_size=6", "method.rounds=1"),
            *("method.own_shots=1", "method.a_class=2", "method.nearest=2"),
        ),
        writes=True,
        labels=True,
    ),
    "sungen": Case((*LABELS, "loss=sungen"), labels=True),
    "contrastive": Case((*LABELS, "loss=contrastive"), labels=True),
    "group_contrast": Case((*LABELS, "loss=group_contrast"), labels=True),
    "gradient_similarity": Case((*LABELS, "select=gradient_similarity"), labels=True),
    "written or real": Case(
        (
            *("method=zerogen", "method.n_first=40", "method.max_tokens=24"),
            "evaluate.written_or_real=true",
        ),
        writes=True,
        tasks=CLASSES,
    ),
}
CASES = PARTS | {
    name: replace(one, overrides=(f"method={name}", *one.overrides))
    for name, one in METHODS.items()
}
ELSEWHERE = {"evokd", "full_pool", "llkd", "llkd_on_demand"}
"""Methods of test_vllm_run.py."""
GOLD_ALONE = {"shots", "supervised"}
"""Methods that neither ask a teacher nor read a pool."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineHost]:
    with EngineHost(tmp_path_factory.mktemp("host") / "engine.log") as host:
        yield host


@pytest.fixture(scope="module")
def task_overrides(
    small_data: Path,
    student: Path,
    ner_student: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[str]]:
    """Data and student of each task, real texts and a tiny student that makes mistakes."""
    sentences = tmp_path_factory.mktemp("sentences") / "wikigold"
    return {
        "classification": [*snips(small_data), f"student.model={student}"],
        "ner": [*wikigold(sentences), f"student.model={ner_student}"],
    }


def test_every_method_has_a_run_on_the_real_engine():
    methods = {path.stem for path in (conf_directory() / "method").glob("*.yaml")}
    assert methods == set(METHODS) | ELSEWHERE | GOLD_ALONE


@pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name, case in CASES.items() for task in case.tasks]
)
def test_a_relative_grows_from_the_real_teacher_and_again_from_the_cache(
    name: str,
    task: str,
    host: EngineHost,
    task_overrides: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv(ADDRESS, host.address)
    case = CASES[name]
    overrides = [
        *task_overrides[task],
        *SMALL_ENGINE,
        *("evaluate.written_or_real=false", *SHORT, *case.overrides),
        *("student.max_length=48", "trainer.accelerator=cpu", "threads=1"),
        f"teacher.cache={tmp_path / 'replies.sqlite'}",
    ]
    first, second = tmp_path / "first", tmp_path / "second"
    result, again = grow(first, overrides), grow(second, overrides)
    for folder in (first, second):
        assert json.loads((folder / "status.json").read_text())["state"] == "done"
        assert not (folder / "teacher" / "engine.log").exists(), "an engine of its own was started"

    # The repeat has the same rows and scores, and asks the engine nothing.
    assert again["pool_hash"] == result["pool_hash"]
    assert again["tokens"]["billed"] == result["tokens"]["billed"]
    assert again["tokens"]["spent"] == 0
    assert accuracies(second) == accuracies(first)
    assert len(host.pids) <= 1, "the model is loaded once"

    grown = [
        row
        for row in Pool.open(first / "pool" / "rows.jsonl").rows
        if row.source not in ("gold", "class_name")
    ]
    assert grown
    if not case.writes and not case.labels:
        assert result["tokens"]["billed"] == 0
        assert all(row.by_student or row.source == "init" for row in grown)
        return
    # A run may ask the same twice: two sentences with one name between the same words.
    assert 0 < result["tokens"]["spent"] <= result["tokens"]["billed"]
    assert result["requests"]["failed"] == 0
    replies = [line["reply"] for line in lines(first / "teacher" / "transcript.jsonl")]
    assert all(reply["prompt_tokens"] > 0 and not reply["error"] for reply in replies)
    labelled = [row for row in grown if row.source == "pool"]
    written = [row for row in grown if row.source != "pool"]
    assert (bool(labelled), bool(written)) == (case.labels, case.writes)
    assert not any(row.by_student for row in labelled)
    # What was written is in a reply, perhaps behind the words that its prompt ends with.
    said = [reply["text"].strip() for reply in replies if reply.get("text", "").strip()]
    if case.writes:
        assert any(text in row.text or row.text in text for row in written for text in said)
    if name == "seed policy" and task == "classification":
        shown = {parent for row in written if row.round == 2 for parent in row.parents}
        assert shown & {row.id for row in written if row.round == 1}
    if name == "own shots":
        assert not any(row.accepted for row in written), "the student does not learn from them"
    if name == "written or real":
        assert result["written_or_real"] == again["written_or_real"]
        assert 0 <= result["written_or_real"]["balanced_accuracy"] <= 1
    if name == "static":
        pool, *others = audit(first).splits
        assert (pool.split, pool.texts) == ("pool", len(labelled))
        assert {one.split for one in others} == {"dev", "test"}


def test_labels_that_are_asked_ahead_are_those_of_taking_turns(
    host: EngineHost,
    task_overrides: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv(ADDRESS, host.address)

    def grown(name: str, *overrides: str) -> dict[str, Any]:
        return grow(
            tmp_path / name,
            [
                *task_overrides["classification"],
                *SMALL_ENGINE,
                *("method=llkd_on_demand", "acquire=random", *SHORT),
                *("method.first=4", "method.rounds=2", "method.n_texts=3"),
                *("student.max_length=48", "trainer.accelerator=cpu", "threads=1"),
                f"teacher.cache={tmp_path / f'{name}.sqlite'}",
                *overrides,
            ],
        )

    turns, ahead = grown("turns"), grown("ahead", "training.prefetch=true")
    for key in ("pool_hash", "after", "tokens", "requests"):
        assert ahead[key] == turns[key], key
    assert ahead["tokens"]["spent"] == ahead["tokens"]["billed"] > 0
