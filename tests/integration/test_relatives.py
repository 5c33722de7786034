"""EvoKD's relatives, pool methods and LLM-DA in whole scripted runs, for both tasks."""

from __future__ import annotations

import ast
import json
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.tasks import TaskSetup
from tests.helpers.tiny import grow, lines

from tutelage.config.folder import conf_directory
from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, TeacherError
from tutelage.interruption import Interrupted
from tutelage.methods.evokd.curate_train_refine import HELD_OUT
from tutelage.methods.evokd.reversegen import RIGHT
from tutelage.methods.pool.pseudo_labels import PseudoLabels
from tutelage.records import Row
from tutelage.report.html import write_report

SHORT = ("training.start_epochs=2", "training.round_epochs=1")


def rows(folder: Path) -> tuple[Row, ...]:
    return Pool.open(folder / "pool" / "rows.jsonl").rows


def growth(folder: Path, round: int) -> dict[str, Any]:
    return dict(
        json.loads((folder / "growth" / f"round-{round:03d}.json").read_text(encoding="utf-8"))
    )


def test_zerogen_writes_everything_up_front_without_gold(kind: TaskSetup, workplace: Path):
    folder = workplace / "run"
    result = grow(folder, [*kind.base(), "method=zerogen", "method.n_first=28", *SHORT])
    assert Counter(row.source for row in rows(folder)) == {"easy": 28}
    assert all(row.round == 0 and row.distribution is None for row in rows(folder))
    assert result["rows"]["accepted"] > 0
    assert result["gold_labels"] == {"shots": 0, "dev": 0, "calibration": 0}
    assert (result["rounds"], result["stopped_by"]) == (0, "rounds")
    assert growth(folder, 0)["asked"] == (56 if kind.task == "ner" else 28)


def test_pgkd_is_steered_by_dev(kind: TaskSetup, workplace: Path):
    folder = workplace / "run"
    result = grow(
        folder,
        [
            *kind.base(),
            "method=pgkd",
            "method.rounds=2",
            "method.n_hard=4",
            "method.n_easy=4",
            *SHORT,
        ],
    )
    assert result["rounds"] == 2
    assert result["gold_labels"]["shots"] == kind.gold
    assert result["gold_labels"]["dev"] > 0
    assert (
        "Its precision, recall, F1 and" in growth(folder, 1)["prompt"] + growth(folder, 2)["prompt"]
    )
    assert result["kept"] is not None, "the best student by dev"


def test_elad_explains_mistakes_on_unstable_pool_texts_and_writes_from_that(
    kind: TaskSetup, workplace: Path
):
    folder = workplace / "run"
    # A student that knows little yet makes mistakes.
    early = ("training.start_epochs=1", "training.round_epochs=1", "method.mistake_margin=0")
    result = grow(
        folder,
        [
            *(*kind.base(), *kind.evokd, *early),
            *("method=elad", "method.n_pool=8", "acquire.copies=2", "accept=scored"),
        ],
    )
    assert result["rounds"] == 2
    assert result["gold_labels"] == {"shots": kind.gold, "dev": 0, "calibration": 0}
    labelled = [row for row in rows(folder) if row.source == "pool"]
    assert Counter(row.round for row in labelled) == {1: 8, 2: 8}
    assert all(float(row.detail["acquisition"]) >= 0 for row in labelled)
    asked = [
        line["request"]["prompt"]
        for line in lines(folder / "teacher" / "transcript.jsonl")
        if line["request"]["kind"] == "generate"
    ]
    for round in (1, 2):
        record = growth(folder, round)
        assert "It gets these wrong:\n1. " in record["prompt"]
        assert ": Mistake 1 is misled by a word." in record["analysis"]
    # Not only the request itself: prompts of hard texts go on from the explanations.
    assert any("Note: " in prompt and "is misled by a word." in prompt for prompt in asked)


@pytest.mark.parametrize(
    "small",
    [
        ("method=reversegen", "method.texts_per_arm=2", "method.mistake_margin=0"),
        ("method=curate_train_refine", "method.n_first=28", "training.predict_then_train=false"),
    ],
    ids=["reversegen", "curate_train_refine"],
)
def test_what_explores_and_refines_ends_alike_after_its_engine_died(
    kind: TaskSetup, workplace: Path, small: tuple[str, ...]
):
    rounds = ("method.rounds=2", "method.n_hard=14", "method.demonstrations=2", "accept=scored")
    short = ("training.start_epochs=1", "training.round_epochs=1")
    overrides = [*kind.evokd, *small, *rounds, *short]
    whole, folder = workplace / "whole", workplace / "run"
    result = grow(whole, [*kind.base(), *overrides, "teacher.cache=a.sqlite"])
    assert (result["rounds"], result["gold_labels"]["dev"]) == (2, 0)
    grown = [row for row in rows(whole) if row.round]
    assert any(row.accepted for row in grown)
    if "method=reversegen" in small:
        assert {RIGHT} <= {row.reason for row in grown}
        assert {row.detail["variant"] for row in grown} <= {"easy", "hard", "paraphrase"}
    else:
        held = [row for row in rows(whole) if row.reason == HELD_OUT]
        missed = lines(whole / "feedback" / "round-001.jsonl")
        assert {one["id"] for one in missed} <= {row.id for row in held}
        assert held
        assert missed
    # Dead in round 2, it goes on with what it knew of the first.
    last = growth(whole, 2)["asked"]
    dies = kind.base(dies_after=result["requests"]["all"] - last // 2)
    with pytest.raises(TeacherError, match="the engine died"):
        grow(folder, [*dies, *overrides, "teacher.cache=b.sqlite"])
    again = grow(folder, [*kind.base(), *overrides, "teacher.cache=b.sqlite", "resume=true"])
    for key in ("pool_hash", "after", "rows", "stopped_by"):
        assert again[key] == result[key], key


def test_llmaaa_labels_what_the_student_asks_for(kind: TaskSetup, workplace: Path):
    folder = workplace / "run"
    small = ("method.first=6", "method.rounds=2", "method.n_texts=4", "method.demonstrations=2")
    result = grow(folder, [*kind.base(), "method=llmaaa", *small, *SHORT])
    assert Counter(row.round for row in rows(folder)) == {0: 6, 1: 4, 2: 4}
    assert {row.source for row in rows(folder)} == {"pool"}
    assert len({row.parents[0] for row in rows(folder)}) == 14
    assert all(row.detail["acquisition"] for row in rows(folder) if row.round)
    assert result["gold_labels"]["shots"] == kind.gold


@pytest.mark.parametrize("gold", ["shots", "none"])
def test_freeal_labels_anew_what_is_not_clean(kind: TaskSetup, workplace: Path, gold: str):
    folder = workplace / "run"
    result = grow(
        folder,
        [*kind.base(), "method=freeal", "method.rounds=1", f"training.gold={gold}", *SHORT],
    )
    own = [row for row in rows(folder) if row.source != "pool"]
    if gold == "none":
        # The teacher wrote its first demonstrations, which nobody trains on.
        assert len({row.asked for row in own}) > 1
        assert not any(row.accepted for row in own)
        assert any("a demonstration of the teacher's own" in row.reason for row in own)
    else:
        assert not own
    first, anew = (
        [row for row in rows(folder) if row.round == round and row not in own] for round in (0, 1)
    )
    assert len(first) == kind.pool
    assert {row.parents[0] for row in anew} < {row.parents[0] for row in first}
    assert result["gold_labels"]["shots"] == (kind.gold if gold == "shots" else 0)
    assert growth(folder, 1)["seconds"].keys() == {"filtering", "labelling"}
    # Every text counts once per epoch, whether it was labelled once or twice.
    assert result["share_of_data"]["passed"] == 3 * kind.pool


def test_llm_da_varies_marked_sentences_and_has_nothing_to_do_without(
    kind: TaskSetup, workplace: Path
):
    folder = workplace / "run"
    overrides = [*kind.base(), "method=llm_da", "method.rounds=1", "method.n_texts=16", *SHORT]
    if kind.task == "classification":
        with pytest.raises(
            ConfigError,
            match="method=llm_da keeps the entities of sentences, and this task has none",
        ):
            grow(folder, overrides)
        return
    result = grow(folder, overrides)
    grown = [row for row in rows(folder) if row.source != "gold"]
    assert Counter(row.detail["mode"] for row in grown) == {
        "rewrite": 4,
        "replace": 4,
        "both": 4,
        "noise": 4,
    }
    assert any(row.accepted for row in grown)
    assert all(row.distribution is None and row.parents for row in grown)
    assert (result["rounds"], result["gold_labels"]["shots"]) == (1, kind.gold)


def test_eda_changes_the_shots_at_random_and_asks_nobody(kind: TaskSetup, workplace: Path):
    folder = workplace / "run"
    result = grow(folder, [*kind.base(), "method=eda", "method.n_texts=4", *SHORT])
    grown = [row for row in rows(folder) if row.source != "gold"]
    assert len(grown) == 4 * kind.gold
    assert all(row.accepted and row.distribution is None and row.parents for row in grown)
    assert (result["rounds"], result["gold_labels"]["shots"]) == (0, kind.gold)
    assert result["tokens"]["billed"] == 0


@pytest.mark.parametrize("loss", ["masked_words", "cross_entropy"])
def test_pseudo_labels_ask_nobody_and_end_alike_after_a_stop(
    kind: TaskSetup, workplace: Path, loss: str, monkeypatch: pytest.MonkeyPatch
):
    overrides = [
        *kind.base(),
        *("method=pseudo_labels", f"loss={loss}", "method.rounds=3", "method.n_texts=6"),
        *("method.min_confidence=0", "training.start_epochs=12", "training.round_epochs=1"),
    ]
    whole, folder = workplace / "whole", workplace / "run"
    result = grow(whole, overrides)
    grown = [row for row in rows(whole) if row.source == "pool"]
    assert grown
    assert all(row.by_student and row.accepted and row.round for row in grown)
    assert max(Counter(row.round for row in grown).values()) <= 6
    assert len({row.parents for row in grown}) == len(grown)
    empty = sum(row.target == "[]" for row in grown)
    assert 2 * empty <= len(grown)
    assert result["gold_labels"] == {"shots": kind.gold, "dev": 0, "calibration": 0}
    assert (result["requests"], result["tokens"]["billed"]) == (None, 0)
    assert not (whole / "teacher" / "transcript.jsonl").exists()

    # Stopped when it is about to label in round 2, it goes on from there.
    grows = PseudoLabels.next_rows

    def stops(method: PseudoLabels, feedback: Any, round: int) -> Any:
        if round == 2:
            raise KeyboardInterrupt
        return grows(method, feedback, round)

    monkeypatch.setattr(PseudoLabels, "next_rows", stops)
    with pytest.raises(Interrupted):
        grow(folder, overrides)
    monkeypatch.undo()
    again = grow(folder, [*overrides, "resume=true"])
    for key in ("pool_hash", "after", "rows", "stopped_by", "rounds"):
        assert again[key] == result[key], key

    # What describes the run knows of no teacher.
    write_report(folder)
    page = unescape((folder / "report.html").read_text(encoding="utf-8"))
    assert "The teacher's" not in page
    assert "The student's labels" in page
    card = (folder / "student" / "README.md").read_text(encoding="utf-8")
    assert "Teacher: none." in card
    assert "labelled by the student itself" in card
    assert "labelled by the teacher" not in card


def test_every_method_is_run_for_both_tasks():
    """Every method appears in a test that takes each task in turn."""
    held = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any(
                getattr(arg.annotation, "id", "") == "TaskSetup" for arg in node.args.args
            ):
                held |= {
                    one.value
                    for one in ast.walk(node)
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
    by_name = {word for text in held for word in text.replace("method=", "").split(",")}
    methods = {path.stem for path in (conf_directory() / "method").glob("*.yaml")}
    # EvoKD is the default, and TaskSetup.evokd its settings.
    assert methods - by_name - {"evokd"} == set()


def test_a_budget_that_ends_after_the_first_labels_ends_growth_and_not_the_run(
    kind: TaskSetup, workplace: Path
):
    small = [
        "method=llmaaa",
        "method.first=6",
        "method.n_texts=4",
        "method.demonstrations=2",
        *SHORT,
    ]
    billed = grow(workplace / "first", [*kind.base(), *small, "method.rounds=0"])["tokens"][
        "billed"
    ]
    result = grow(
        workplace / "run", [*kind.base(), *small, "method.rounds=2", f"budget.tokens={billed + 30}"]
    )
    assert (result["rounds"], result["stopped_by"]) == (0, "budget")
    assert len(rows(workplace / "run")) == 6
