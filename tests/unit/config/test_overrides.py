"""Any path can be typed as it is, and what Hydra cannot read is shown in a form that works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tutelage.config.compose import compose_config
from tutelage.config.overrides import as_text, quoted, readable
from tutelage.errors import ConfigError

SIGNS = "abz019_-./\\ =()[]{},:;'\"#$~&|<>!?*%@+^`éß名ñ\t"
ODD = st.text(SIGNS, min_size=1, max_size=12).filter(lambda text: text not in ("???",))


def value_of(override: str) -> Any:
    """What a setting holds after Hydra has read an override of it."""
    parsed = OverridesParser.create().parse_override(override)
    return OmegaConf.create({"setting": parsed.value()})["setting"]


def values_of(override: str) -> list[Any]:
    """The same for each run of a multirun."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return [value_of(override)]
    return [value_of(f"key={one}") for one in parsed.sweep_string_iterator()]


def refused(override: str, *, many: bool = False) -> str:
    with pytest.raises(ConfigError) as error:
        readable([override], many=many)
    return str(error.value)


def advised(message: str) -> list[str]:
    """The overrides that a message says to write, as a shell hands them over."""
    after = re.split(r"[. ][Ww]rite ", message, maxsplit=1)[1].removesuffix(".")
    return [one for one in shlex.split(after) if "=" in one]


@pytest.mark.parametrize(
    "path",
    [
        "odd/run=1",
        "odd/épreuve",
        "my data (v2)",
        "it's",
        'the "best" one',
        "both ' and \"",
        "a[1]",
        "[draft]",
        "{x}",
        "2024",
        "2024_01",
        "1e5",
        "#1; rm",
        "cost$",
        "data~",
        "x,y (1)",
        "a: b",
        "名/",
        "back\\slash (1)",
        "ends (in) \\",
    ],
)
def test_a_path_is_typed_as_it_is(path: str, workplace: Path):
    settings = ("data.path", "teacher.cache", "student.model", "resume", "hydra.run.dir")
    config = compose_config(["data=files", *(f"{setting}={path}" for setting in settings)])
    found = [config.data.get("path"), config.cache, config.student.model, config.resume]
    assert found == [path] * 4
    assert config.hydra.run_dir == Path(path)


@given(ODD)
@example("a\\\\${b}")
@example("\\")
@example("\\'\\\"")
def test_a_text_in_quotes_is_read_as_itself(text: str):
    for mark in "\"'":
        assert value_of(f"key={quoted(text, mark)}") == text


@given(ODD.filter(lambda text: "${" not in text))
def test_a_path_that_hydra_refuses_is_read_as_itself(text: str):
    if as_text(text) != text and not text.startswith("~"):
        (override,) = readable([f"data.path={text}"])
        assert value_of(override) == text
        assert readable([override]) == [override]


@given(ODD, st.booleans())
def test_the_form_that_a_message_shows_is_read_as_the_text(text: str, many: bool):
    try:
        readable([f"data.cue={text}"], many=many)
    except ConfigError as error:
        form = advised(str(error))[-1]
        assert readable([form], many=many) == [form]
        if "${" not in text:
            assert values_of(form) == [text]


@given(ODD, st.sampled_from(["data.path", "name", "data.cue", "resume"]), st.booleans())
def test_a_second_pass_changes_nothing(text: str, setting: str, many: bool):
    try:
        once = readable([f"{setting}={text}"], many=many)
    except ConfigError:
        return
    assert readable(once, many=many) == once


@pytest.mark.parametrize(
    "name", ["a,b", "1_000", "[a]", "'quoted'", "a${b}", "a\\ b", "ends in a blank ", "{a: 1}"]
)
def test_a_path_that_exists_as_it_is_typed_is_the_one_that_is_meant(name: str, workplace: Path):
    (workplace / name).mkdir()
    (override,) = readable([f"data.path={name}"])
    assert value_of(override) == name


def test_a_tilde_is_the_home_folder_in_a_path_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me (1)")
    assert values_of(*readable(["data.path=~/data"])) == ["/home/me (1)/data"]
    several = readable(["student.model=~/a,~/b"], many=True)
    assert values_of(*several) == ["/home/me (1)/a", "/home/me (1)/b"]
    assert "allows ~ only inside quotes" in refused("data.cue=~/data")


def test_a_reference_stays_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WHERE", "there")
    assert value_of(*readable(["data.path=${oc.env:WHERE}/my data (v2)"])) == "there/my data (v2)"
    assert value_of(*readable(["data.path=a ${ (1)"])) == "a ${ (1)"


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("my data (v2),odd/run=1", ["my data (v2)", "odd/run=1"]),
        ("2023_01,2024", ["2023_01", "2024"]),
        ("a,b", ["a", "b"]),
        ("'a,b',c", ["a,b", "c"]),
        ("choice(a,b)", ["a", "b"]),
        ("it's", ["it's"]),
    ],
)
def test_in_a_multirun_a_comma_separates_paths(typed: str, values: list[str]):
    assert values_of(*readable([f"data.path={typed}"], many=True)) == values


def test_a_comma_between_brackets_is_asked_about():
    message = refused("data.path=my data (v2, new)", many=True)
    assert advised(message)[-1] == 'data.path="my data (v2, new)"'


@pytest.mark.parametrize(
    ("override", "many", "forms"),
    [
        ("data.cue=what (is) it", False, ['data.cue="what (is) it"']),
        ("data.cue=it's", False, ['data.cue="it\'s"']),
        ("+labelling.x=[a,é]", False, ['+labelling.x=[a,"é"]', '+labelling.x="[a,é]"']),
        ("+method.x={a: é}", False, ['+method.x={a:"é"}', '+method.x="{a: é}"']),
        ("data.cue=a (1),b", True, ['data.cue="a (1)",b', 'data.cue="a (1),b"']),
        ("data.cue=a (1),b", False, ['data.cue="a (1),b"']),
    ],
)
def test_another_setting_is_refused_with_the_form_that_works(
    override: str, many: bool, forms: list[str]
):
    message = refused(override, many=many)
    assert message.startswith(f"{override} cannot be read: ")
    assert advised(message) == forms
    assert "https:" not in message
    for form in forms:
        assert readable([form], many=many) == [form]


def test_values_of_several_runs_need_a_multirun():
    message = refused("seed=1,2")
    assert "which need `tutelage train -m`" in message
    assert "for a list" not in message
    listed = refused("callbacks=lr_monitor,device_stats")
    form = re.search(r"for a list, '(.*)'", listed)
    assert form
    assert [*compose_config([form[1]]).callbacks] == ["lr_monitor", "device_stats"]


@pytest.mark.parametrize("word", ["foo", "épreuve=1", "=x", "a..b=1", "my data=1", "~"])
def test_what_is_no_override_says_how_one_is_written(word: str):
    message = refused(word)
    assert message.startswith(repr(word))
    assert "key=value" in message or "data.path=…" in message


@pytest.mark.parametrize(
    "override",
    ["resume=true", "teacher.cache=null", "~callbacks", "++x.y=1", "hydra/sweeper=optuna", "x="],
)
def test_what_hydra_reads_stays_as_it_is(override: str):
    assert readable([override]) == [override]


def test_an_argument_of_the_engine_needs_no_plus():
    assert readable(["teacher.engine.max_num_seqs=8"]) == ["++teacher.engine.max_num_seqs=8"]
    engine = compose_config(
        ["teacher.engine.max_num_seqs=8", "+teacher.engine.hf_overrides.rope_theta=1e4"],
        import_targets=False,
    ).teacher.settings["engine"]
    assert engine == {"max_num_seqs": 8, "hf_overrides": {"rope_theta": 1e4}}
