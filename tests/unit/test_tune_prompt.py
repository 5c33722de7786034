"""Ways of asking are tried on labelled texts, and the best one is written as an experiment."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.helpers.tiny import scripted

from tutelage.cli import main
from tutelage.config.compose import compose_config
from tutelage.config.folder import OWN_CONF
from tutelage.errors import ConfigError
from tutelage.launch import take_config_dir
from tutelage.records import Label
from tutelage.tune_prompt import Trial, Way, _chosen, _named, tune_prompt

NO_CHAT, CHAT = Way("completion", ()), Way("chat", (("prompt", "chat"),))


@pytest.fixture
def overrides(small_data: Path, tmp_path: Path) -> list[str]:
    return scripted(tmp_path / "no-student", small_data, tmp_path / "replies.sqlite")


def test_dev_texts_choose_a_way_which_a_run_then_composes(
    overrides: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "tuned"
    tries = ["labelling.allow_codes=false"]
    assert tune_prompt(overrides, texts=14, tries=tries, output=output) == 0
    told = capsys.readouterr().out
    for title in ("completion", "completion, no shots", "chat", "chat, shots in one message"):
        assert title in told
    assert tries[0] in told
    assert "gold labels used: 14 dev labels" in told
    written = yaml.safe_load((output / "experiment" / "tuned.yaml").read_text())
    assert written["prompt"]["tuned_on"] == 14
    # The run that is advised composes, with the way that was chosen.
    monkeypatch.setenv(OWN_CONF, str(output))
    config = compose_config(
        take_config_dir(["--config-dir", str(output), "experiment=tuned", *overrides])
    )
    assert config.prompt.get("tuned_on") == 14
    assert config.prompt.get("way") in ("chat", "completion")


def test_shots_choose_where_there_is_no_dev(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune_prompt([*overrides, "shots=2"], on="shots", output=tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "gold labels used: the 14 shots, each without itself" in told
    written = yaml.safe_load((tmp_path / "out" / "experiment" / "tuned.yaml").read_text())
    assert "tuned_on" not in written.get("prompt", {})


def test_too_few_labels_are_refused(overrides: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 labelled shots are too few to choose by"):
        tune_prompt([*overrides, "shots=0"], on="shots", output=tmp_path / "out")
    with pytest.raises(ConfigError, match="--texts 0 must be 1 or more"):
        tune_prompt(overrides, texts=0, output=tmp_path / "out")
    with pytest.raises(SystemExit) as ended:
        main(["tune-prompt", "--on", "test", *overrides])
    assert ended.value.code == 2


def test_the_cheapest_of_the_equally_good_is_chosen() -> None:
    dear = Trial(CHAT, "batch", 0.91, 300, 0)
    cheap = Trial(NO_CHAT, "none", 0.90, 100, 0)
    assert _chosen([dear, cheap], 60) == cheap
    assert _chosen([dear, Trial(NO_CHAT, "none", 0.5, 100, 0)], 60) == dear


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["AddToPlaylist", "get_weather"], ["add to playlist", "get weather"]),
        (["HUM", "LOCBig2"], ["hum", "loc big 2"]),
        # Names that no override can spell, or that give the same words, are left out.
        (["a b", "c"], []),
        (["getWeather", "get_weather"], []),
    ],
)
def test_names_of_labels_as_words(labels: list[str], words: list[str]) -> None:
    found = list(_named([Label(name, "word", "") for name in labels]))
    assert [value for _, value in found] == words
