"""The recipe that measurements support, for what a user has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError
from tutelage.measurements import (
    MIN_POOL,
    TABLE,
    Situation,
    choose,
    gain,
    measurements,
    nearest_study,
    read_table,
    teacher_alone,
)

SMALL = 135.0


def key(choice: Any) -> str | None:
    return choice.recipe and choice.recipe.key


@pytest.mark.parametrize(
    ("situation", "recipe"),
    [
        # A pool is labelled, with shots or without, whatever the teacher.
        (Situation("classification", 1, 2000, 300, SMALL), "llkd"),
        (Situation("classification", 0, 2000, 0, SMALL), "llkd"),
        (Situation("classification", 1, 2000, 0, 494.0), "pool_labels"),
        # A teacher of unknown size counts as the largest.
        (Situation("classification", 1, 2000, 0, 0.0), "pool_labels"),
        # Without one the teacher writes; too few texts are no pool.
        (Situation("classification", 1, 0, 300, SMALL), "evokd"),
        (Situation("classification", 1, MIN_POOL - 1, 300, SMALL), "evokd"),
        # Five shots per type gain nothing by a small teacher, with dev or without.
        (Situation("ner", 1, 0, 168, SMALL), "evokd"),
        (Situation("ner", 5, 0, 168, SMALL), "shots"),
        (Situation("ner", 5, 1180, 0, SMALL), "shots"),
        # A capable teacher labels the sentences of a pool, and writes where there is none.
        (Situation("ner", 1, 1180, 0, 494.0), "pool_labels_ner"),
        (Situation("ner", 1, 0, 0, 494.0), "generation"),
        # Nothing was measured without any label and without a pool.
        (Situation("classification", 0, 0, 300, SMALL), None),
        (Situation("ner", 0, 900, 0, SMALL), None),
    ],
)
def test_the_shipped_table_supports(situation: Situation, recipe: str | None) -> None:
    assert key(choose(measurements(), situation)) == recipe


def test_a_budget_leaves_recipes_out_and_says_which_was_better() -> None:
    situation = Situation("classification", 1, 2000, 300, SMALL)
    study = nearest_study(measurements(), situation)
    assert study is not None
    choice = choose(measurements(), situation, lambda one: study.price(one.key) <= 100_000)
    # Level with 250 random texts at about their price, so the better mean wins.
    assert key(choice) == "on_demand"
    assert [recipe.key for recipe in choice.too_dear] == ["llkd"]
    assert choose(measurements(), situation, lambda _: False).recipe is None


def test_gains_are_paired_by_set_and_seed_and_agree_with_the_documentation() -> None:
    study = nearest_study(measurements(), Situation("classification", 2, 1000, 0, SMALL))
    assert study is not None
    found = gain(study.pairs("llkd", "quarter"))
    assert (round(found.points, 1), found.pairs) == (4.1, 18)
    assert str(found) == "+4.1 (+2.6 to +5.5)"
    assert str(-found) == "−4.1 (−5.5 to −2.6)"
    # Two sets have both.
    assert len(study.pairs("llkd", "on_demand")) == 6
    assert str(gain([-0.04, 0.0])).startswith("+0.0 ")


def row(recipe: str, scores: list[float], tokens: int, name: str = "A") -> dict[str, Any]:
    return {"recipe": recipe, "set": name, "classes": 2, "scores": scores, "tokens": tokens}


def table_of(tmp_path: Path, rows: list[dict[str, Any]], **fields: Any) -> Any:
    found = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    study = {**found["studies"][0], "rows": rows, **fields}
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump({**found, "studies": [study]}), encoding="utf-8")
    return read_table(path)


@pytest.mark.parametrize(
    ("evokd", "tokens", "recipe"),
    [
        ([60.5, 60.6, 60.4], 9000, "shots"),  # half a point
        ([75.0, 50.0, 68.0], 9000, "shots"),  # an interval with 0 in it
        ([64.0, 65.0, 66.0], 9000, "evokd"),
        ([64.0, 65.0], 9000, None),  # too few pairs
    ],
)
def test_tokens_have_to_pay(
    tmp_path: Path, evokd: list[float], tokens: int, recipe: str | None
) -> None:
    rows = [row("shots", [60.0, 60.0, 60.0], 0), row("evokd", evokd, tokens)]
    situation = Situation("classification", 1, 0, 0, SMALL)
    assert key(choose(table_of(tmp_path, rows), situation)) == recipe


def test_the_nearest_teacher_decides_once_it_was_measured_often_enough(tmp_path: Path) -> None:
    shipped = measurements()
    large = replace(shipped.studies[0], teacher="large", millions=7000.0)
    both = replace(shipped, studies=(*shipped.studies, large))
    situation = Situation("classification", 1, 0, 0, 3000.0)
    middle = nearest_study(shipped, situation)
    assert middle is not None
    assert middle.millions == 494.0
    assert nearest_study(both, situation) == large
    assert nearest_study(both, replace(situation, millions=0.0)) == large
    assert nearest_study(both, replace(situation, millions=200.0)) == shipped.studies[0]
    alone = teacher_alone(shipped, replace(situation, shots=0))
    assert alone is not None
    assert (alone[0].teacher, alone[0].shots) == ("Qwen2.5-Coder-1.5B", 0)


def test_a_wrong_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unknown recipe 'evokdd'. Did you mean 'evokd'"):
        table_of(tmp_path, [row("evokdd", [1.0], 0)])
    with pytest.raises(ConfigError, match="is no table of measurements"):
        table_of(tmp_path, [row("evokd", [1.0], 0)], colour="red")


@pytest.mark.parametrize(
    "study", measurements().studies, ids=lambda one: f"{one.name} {one.teacher}"
)
def test_every_recipe_of_a_study_composes(study: Any) -> None:
    for recipe in study.recipes:
        own = [*measurements().recipes[recipe].overrides, *study.settings.get(recipe, ())]
        task = ["task=ner", "data=wikigold"] if study.task == "ner" else []
        assert compose_config([*task, *own]).source["method"]["name"]
    assert set(study.settings) <= set(study.recipes)
