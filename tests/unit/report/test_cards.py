"""Cards say what a run has recorded, and nothing in a run's folder can add to their markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.helpers.ner_folders import build_ner_run
from tests.helpers.pages import HOSTILE
from tests.helpers.run_folders import build_run, write_json

from tutelage.errors import ConfigError
from tutelage.report.card_facts import CardOptions, card_settings, data_facts, public_command
from tutelage.report.dataset_card import dataset_card, safe_reason
from tutelage.report.markdown import code, escaped, front_matter, public
from tutelage.report.model_card import model_card
from tutelage.runs.read import read_run

GOLDEN = """\
## How it was made

- Method: evokd
- Teacher: `my-llm`, licence: not recorded; read the model's own card. Engine: replay.
- Asked by: not recorded. Calibration of its labels: batch.
- Rounds of growth: 1
- Billed tokens: 484 (242 of prompts, 242 of replies)
- Gold labels used: 2 (shots), 40 (dev)

## Training data

| source | meaning | used | rejected |
|---|---|---:|---:|
| `gold` | from the data set, with its label | 2 | 0 |
| `easy` | written by the teacher | 2 | 0 |
| `hard` | written by the teacher, aimed at mistakes of the student | 2 | 0 |

Data set: `synthetic`, licence: not recorded; ask its owner before you publish.
Its texts: 500 in pool, 40 in dev, 12 in test. No text of test was trained on.
"""


def head_of(card: str) -> dict[str, Any]:
    found = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(found, dict)
    return found


def changed(run: Path, file: str, /, **values: Any) -> None:
    record = json.loads((run / file).read_text(encoding="utf-8"))
    write_json(run / file, {**record, **values})


def test_a_card_says_how_the_student_was_made(tmp_path: Path) -> None:
    run = build_run(
        tmp_path / "run", labels=("a", "b"), rounds=1, rows_a_round=4, test_count=12, seed=3
    )
    teacher = {"engine": "replay", "model": "/home/me/models/my-llm", "calibration": "batch"}
    command = "tutelage train data=files 'data.path=/home/me/my data' seed=3"
    changed(run, "manifest.json", teacher=teacher, command=command)
    card = model_card(read_run(run), CardOptions("apache-2.0", "de"))
    assert GOLDEN in card
    assert "/home" not in card
    assert "\ntutelage train data=files 'data.path=my data' seed=3\n" in card
    head = head_of(card)
    assert (head["license"], head["language"]) == ("apache-2.0", ["de"])
    result = head["model-index"][0]["results"][0]
    accuracy = json.loads((run / "result.json").read_text())["after"]["accuracy"]
    assert result["metrics"][0] == {
        "type": "accuracy",
        "value": round(accuracy, 4),
        "name": "accuracy",
    }
    assert "| commit | `0123abc` |" in card
    assert "| devices of the student | 1 |" in card
    changed(run, "manifest.json", hardware={"student_devices": 4})
    assert "| devices of the student | 4 |" in model_card(read_run(run))
    # The licence of the embedded teacher is known.
    changed(run, "manifest.json", teacher={**teacher, "model": "embedded"})
    card = model_card(read_run(run))
    assert "`SmolLM2-135M-Instruct`" in card
    assert "licence: Apache-2.0" in card
    assert head_of(card)["license"] == "other"


def test_the_hub_s_client_reads_the_front_matter(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(model_card(read_run(build_ner_run(tmp_path / "run"))))
    assert card.data.pipeline_tag == "token-classification"
    assert [one.metric_type for one in card.data.eval_results or ()] == ["f1", "accuracy"]


@pytest.mark.parametrize("build", [build_run, build_ner_run])
def test_hostile_values_make_no_markup(build: Any, tmp_path: Path) -> None:
    run = build(tmp_path / "run", texts=[*HOSTILE, "---\nlicense: mit", "[a](http://b) `c` |d|"])
    bad = ["<script>x</script>", "a | b", "[x](http://y)", "``c`", "\n# top\n---\nlicense: mit"]
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    labels = [
        {**label, "description": bad[index]} for index, label in enumerate(manifest["labels"])
    ]
    data = {**manifest["data"], "name": bad[4]}
    changed(run, "manifest.json", labels=labels, data=data, name=bad[2], method=bad[3])
    changed(run, "result.json", warnings=bad)
    read = read_run(run)
    columns = [("id", "id")]
    for card in (model_card(read), dataset_card(read, {"train": "t"}, columns, 3, CardOptions())):
        assert head_of(card)["license"] == "other"
        body = card.split("\n---\n", 1)[1]
        plain = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", re.sub(r"\\.", "", body))
        assert not re.findall(r"<[a-zA-Z/!]", plain)
        assert "](" not in plain.replace("](https://github.com/tutelage/tutelage)", "")
        assert not re.findall(r"^# (?!\W*x)", plain, re.MULTILINE)[1:]
        assert not re.findall("[\x00-\x09\x0b-\x1f\u202e\u2028]", card)
        # Each table keeps its number of columns.
        for table in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_values_are_shown_and_are_no_markup() -> None:
    assert escaped("a*b_c | <d> #1") == "a\\*b\\_c \\| &lt;d&gt; \\#1"
    assert escaped("1. x") == "1\\. x"
    assert code("a`b|c") == "``a`b\\|c``"
    assert code("`") == "`` ` ``"
    assert public("see /home/ann/models/x, and/or https://a.org/b") == (
        "see x, and/or https://a.org/b"
    )
    assert public("{path:/home/ann/x} file:///etc/y") == "{path:x} y"
    assert public("https://me:word@host/x") == "***"
    assert (
        front_matter({"a": "x\n---\nb: c", "d": "yes"}) == "---\na: 'x --- b: c'\nd: 'yes'\n---\n"
    )
    assert public_command("tutelage train 'data.path=~/a b' x=1") == (
        "tutelage train 'data.path=a b' x=1"
    )


def test_a_reason_quotes_no_text() -> None:
    assert safe_reason("labelling failed: http://host/v1 says no") == "labelling failed"
    assert safe_reason("'Ada Lovelace' is a name, says the labelling query") == (
        "… is a name, says the labelling query"
    )


def test_a_shipped_data_set_has_its_licence_and_language(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run")
    data = {"_target_": "tutelage.data.sources.load_sample", "name": "snips_intent"}
    (run / "config.yaml").write_text(yaml.safe_dump({"data": data}), encoding="utf-8")
    manifest = json.loads((run / "manifest.json").read_text())
    changed(run, "manifest.json", data={**manifest["data"], "name": "snips_intent"})
    read = read_run(run)
    found = data_facts(read, card_settings(read), CardOptions())
    assert (found.licence, found.language) == ("CC0 1.0 Universal", "en")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("Apache 2.0",), "--license 'Apache 2.0' is no licence of the hub"),
        (("mit", "German"), "--language 'German' is no code of a language"),
    ],
)
def test_options_have_the_hub_s_form(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        CardOptions(*given)
