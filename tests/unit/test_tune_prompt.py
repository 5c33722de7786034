"""Ways of asking are tried on labelled texts, and the best one is written as an experiment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from tests.helpers.tiny import scripted

from tutelage.cli import main
from tutelage.config.compose import compose_config
from tutelage.config.folder import OWN_CONF
from tutelage.errors import ConfigError
from tutelage.launch import take_config_dir
from tutelage.records import Example, Label
from tutelage.tune_prompt import Judged, Trial, Way, _chosen, _named, tune_prompt

NO_CHAT, CHAT = Way("completion", ()), Way("chat", (("prompt.label_way", "chat"),))


@pytest.fixture
def overrides(small_data: Path, tmp_path: Path) -> list[str]:
    return scripted(tmp_path / "no-student", small_data, tmp_path / "replies.sqlite")


def test_dev_texts_choose_a_way_which_a_run_then_composes(
    overrides: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    output = tmp_path / "tuned"
    tries = ["labelling.allow_codes=false"]
    assert tune_prompt(overrides, texts=14, tries=tries, output=output) == 0
    told = capsys.readouterr().out
    assert "warning" not in told
    rows = re.findall(r"^│ (\S.*?) +│ +\d+ \(\d+\)", told, flags=re.MULTILINE)
    assert {"completion", "completion, no shots", "chat", "chat, no shots"} < {*rows}
    assert any(row.endswith(tries[0]) for row in rows)
    assert "gold labels used: 14 dev labels" in told
    written = yaml.safe_load((output / "experiment" / "tuned.yaml").read_text())
    assert written["prompt"]["tuned_on"] == 14
    # The run that is advised composes, with the way that was chosen.
    monkeypatch.setenv(OWN_CONF, str(output))
    config = compose_config(
        take_config_dir(["--config-dir", str(output), "experiment=tuned", *overrides])
    )
    assert config.prompt.get("tuned_on") == 14
    assert config.prompt.get("label_way") in ("chat", "completion")
    # Only labels were measured, so texts are written as before.
    assert config.prompt.get("way") == "auto"


def test_shots_choose_where_there_is_no_dev(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune_prompt([*overrides, "shots=2"], on="shots", output=tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "gold labels used: the 14 shots, each without itself" in told
    written = yaml.safe_load((tmp_path / "out" / "experiment" / "tuned.yaml").read_text())
    assert "tuned_on" not in written.get("prompt", {})


@pytest.mark.parametrize("most", [2, 20])
def test_a_shot_is_never_its_own_demonstration(overrides: list[str], most: int) -> None:
    config = compose_config([*overrides, f"labelling.max_demonstrations={most}"])
    shots = tuple(Example(str(at), f"text {at}", "music") for at in range(5))
    judged = Judged(shots, shots, "shots")
    nearest = judged.others(config, embedded)
    assert nearest is not None
    for shot in shots:
        shown = [other.text for other in nearest(shot.text)]
        assert shot.text not in shown
        assert len(shown) == min(most, 4)
    bare = compose_config([*overrides, "labelling.max_demonstrations=0"])
    assert judged.others(bare, embedded) is None
    assert Judged(shots, shots, "dev").others(config, embedded) is None


def embedded(texts: Sequence[str]) -> NDArray[np.float32]:
    """Directions that turn with the number of a text, so that near numbers are near."""
    angles = np.array([int(text.split()[1]) for text in texts]) / 10
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


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
