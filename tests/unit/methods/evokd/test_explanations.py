"""ELAD: each mistake is explained and corrected, and hard texts are written from that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.helpers.classification import (
    CONF,
    MIXED,
    TASK,
    WordTeacher,
    context,
    feedback,
    grown,
    make_evokd,
    obliging,
    prompt_set,
    requested_label,
)
from tests.unit.methods import naming

from tutelage.config.compose import compose_config
from tutelage.errors import ConfigError
from tutelage.methods.evokd.explanations import read_explanations
from tutelage.teacher.base import GenerateRequest, Reply, Request

WRONG = MIXED.wrong
ITEMS = tuple(
    {"number": number, "explanation": f"reason {number}", "label": one.target.lower()}
    for number, one in enumerate(WRONG, 1)
)


def reply(*items: Mapping[str, Any], **changes: Any) -> Reply:
    return Reply("analysis", **{"text": json.dumps({"mistakes": items}), **changes})


def texts(given: Reply) -> list[str]:
    return [one.text for one in read_explanations(TASK, WRONG, given)]


def explaining(request: Request) -> Any:
    """Explains the mistakes by number, all of them with the label tool; else obliges."""
    if not isinstance(request, GenerateRequest) or not request.json_schema:
        return obliging(request)
    field = json.loads(request.json_schema)["properties"]
    if "texts" in field:
        return json.dumps({"texts": ["a text"] * field["texts"]["maxItems"]})
    count = field["mistakes"]["maxItems"]
    return reply(*({**ITEMS[0], "number": n, "label": "tool"} for n in range(1, count + 1))).text


@pytest.mark.parametrize("way", ["completion", "chat"])
def test_every_mistake_is_asked_about_in_one_request(tmp_path: Path, way: str) -> None:
    prompts = prompt_set(f"{way}_classification")
    _, teacher, growth = grown(
        tmp_path, script=explaining, prompts=prompts, explanations=True, n_wrong=5
    )
    (request,) = teacher.analyses()
    prompt = str(request.prompt)
    for one in WRONG:
        line = next(line for line in prompt.splitlines() if one.text in line)
        assert line.split(". ")[0].isdigit()
        assert f"{one.target.lower()}, but it said {one.predicted.lower()}" in line
    assert not any(one.text in prompt for one in MIXED.correct)
    assert request.sampling.max_tokens == 5 * 64 + 16
    # Four of the five mistakes are on tools; the other one is contradicted.
    assert growth.analysis == " ".join(["tool, not animal: reason 1"] * 4)


def test_hard_texts_of_the_classes_of_a_mistake_are_written_from_its_explanation(
    tmp_path: Path,
) -> None:
    _, teacher, growth = grown(tmp_path, script=explaining, explanations=True, n_hard=12, n_easy=12)
    assert "reason 1" in growth.analysis
    by_class: dict[str, set[bool]] = {}
    for request in teacher.generations()[:12]:
        name = requested_label(request.prompt)
        by_class.setdefault(name, set()).add("Note: tool, not animal: reason 1" in request.prompt)
    assert by_class == {"Tool": {True}, "Animal": {True}, "Food": {False}}
    assert not any("reason" in request.prompt for request in teacher.generations()[12:])


def test_what_contradicts_the_row_or_says_nothing_is_left_out() -> None:
    assert texts(reply(*ITEMS)) == [
        f"{one.target.lower()}, not {one.predicted.lower()}: reason {number}"
        for number, one in enumerate(WRONG, 1)
    ]
    for useless in ({"label": "food"}, {"explanation": " \n"}, {"explanation": "I'm sorry, but I "
                    "cannot help with that."}):  # fmt: skip
        assert len(texts(reply({**ITEMS[0], **useless}, *ITEMS[1:]))) == len(WRONG) - 1
    # In the order of the mistakes, each once, and JSON's 2.0 is 2.
    twice = reply(ITEMS[2], {**ITEMS[1], "number": 2.0}, {**ITEMS[2], "explanation": "again"})
    assert [text.split(": ")[1] for text in texts(twice)] == ["reason 2", "reason 3"]


@pytest.mark.parametrize(
    "given",
    [
        reply({**ITEMS[0], "number": 9}),
        reply({**ITEMS[0], "label": "animals"}),
        reply(text="It mixes up tools and animals."),
        reply(text="", error="the engine is gone"),
        reply(),
    ],
)
def test_a_reply_that_does_not_fit_explains_nothing(given: Reply) -> None:
    assert texts(given) == []


def test_of_a_reply_that_was_cut_short_the_whole_explanations_stay() -> None:
    whole = reply(*ITEMS[:3]).text
    cut = whole[: whole.index("reason 3")]
    assert len(texts(reply(text=cut, finish_reason="length"))) == 2


def test_a_round_goes_on_without_explanations(tmp_path: Path) -> None:
    # "obliging" answers the request with a sentence, which is no JSON.
    _, teacher, growth = grown(tmp_path, explanations=True)
    assert len(teacher.analyses()) == 1
    assert (growth.analysis, len(growth.rows)) == ("", 12)
    _, teacher, _ = grown(tmp_path / "none", feedback({"Animal": 3}, {}), explanations=True)
    assert not teacher.analyses()


def test_names_are_explained_by_their_first_mistake(tmp_path: Path) -> None:
    invented = naming.seen(9, "Ada Birch", "", "PER")
    given = naming.feedback([*naming.RIGHT, naming.seen(1, "Avalon", "LOC", ""), invented])

    def script(request: Request) -> Any:
        if getattr(request, "json_schema", ""):
            lines = str(request.prompt).splitlines()
            number = next(line[0] for line in lines if "Avalon" in line)
            item = {"number": int(number), "explanation": "It ends a clause.", "label": "place"}
            other = {**item, "number": 3 - int(number), "label": "none"}
            return reply(item, other).text
        return naming.obliging(request)

    teacher, growth = naming.grown(tmp_path, given, script, explanations=True, n_hard=12)
    (request,) = teacher.analyses()
    assert "it missed Avalon (place)." in request.prompt
    assert "it took Ada Birch for a person (none)." in request.prompt
    assert sorted(growth.analysis.split(". ")) == [
        "none, not person: It ends a clause.",
        "place, not none: It ends a clause",
    ] or sorted(growth.analysis.split(". ")) == [
        "none, not person: It ends a clause",
        "place, not none: It ends a clause.",
    ]
    notes = [one.prompt for one in teacher.generations() if "Note: " in one.prompt]
    assert any("Note: place, not none" in note for note in notes)
    assert any("Note: none, not person" in note for note in notes)
    assert not any("place, not none" in note and "none, not person" in note for note in notes)


def test_a_plan_shows_the_request(tmp_path: Path) -> None:
    method = make_evokd(explanations=True)
    method.setup(context(tmp_path, WordTeacher(obliging)))
    (request,) = method.sample_requests(2)["analysis"]
    assert "It gets these wrong:\n1. " in str(request.prompt)
    assert method.requests_a_round()["analysis"] == 1


def test_elad_is_evokd_with_explanations_of_mistakes_on_unstable_pool_texts() -> None:
    config = compose_config(["method=elad"])
    changed = OmegaConf.load(CONF / "method" / "elad.yaml")
    own = {"name", "pool_size", "feedback", "explanations"}
    assert {key for key in changed if key != "defaults"} == own
    assert config.hydra.choices["acquire"] == "instability"
    assert config.source["method"]["explanations"] is True


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method.n_wrong=0"], r"method\.n_wrong=0 shows none"),
        (["method.feedback=none"], r"method\.explanations=true follows the student"),
    ],
)
def test_what_explains_nothing_is_refused(overrides: list[str], message: str) -> None:
    changes = dict(one.removeprefix("method.").split("=") for one in overrides)
    given = {key: int(value) if value.isdigit() else value for key, value in changes.items()}
    with pytest.raises(ConfigError, match=message):
        make_evokd(explanations=True, **given)
