"""A small file of claims with real runs (tiny student, scripted teacher), resumed and judged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.helpers import tiny, tiny_ner

from tutelage.reproduce import check
from tutelage.reproduce.check import reproduce
from tutelage.reproduce.reading import CLAIMS

ROOT = Path(__file__).parents[2]


def claim(id: str, kind: str, better: str, **more: Any) -> dict[str, Any]:
    said = {
        "table": "main",
        "says": "So it is.",
        "mark": "known",
        "chosen": ["all"],
        "sets": {"cpu": ["small"]},
    }
    return {"id": id, "kind": kind, "better": [better], **said, **more}


@pytest.fixture
def claims(
    student: Path, small_data: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))
    base = tiny.scripted(student, small_data, workplace / "replies.sqlite")
    scale = {
        "overrides": [*base, "shots=1"],
        "seeds": [1],
        "minutes": 0.1,
        "sets": {"small": {"overrides": ["name=small"], "metric": "macro_f1"}},
    }
    arms = {
        "grown": {"title": "EvoKD", "overrides": ["method=evokd", *tiny.EVOKD, "method.rounds=1"]},
        "broken": {"title": "too many shots", "overrides": ["method=shots", "shots=99"]},
    }
    listed = [
        claim("gain", "gap", "grown", worse=["grown:before"], at_least=-1.0),
        claim("perfect", "value", "grown", at_least=1.5),
        claim("aim", "value", "grown:aim", at_most=2.0),
        claim("never", "gap", "broken", worse=["grown"]),
    ]
    path = workplace / "claims.yaml"
    path.write_text(
        yaml.safe_dump(
            {"mine": {"title": "Mine", "scales": {"cpu": scale}, "arms": arms, "claims": listed}}
        )
    )
    return path


def verdicts(folder: Path) -> dict[str, tuple[str, str]]:
    return {
        one["id"]: (one["verdict"], one["why"])
        for one in json.loads((folder / "verdicts.json").read_text())["claims"]
    }


def test_runs_are_done_once_and_each_claim_gets_its_verdict(
    claims: Path,
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert reproduce("mine", "cpu", ["gain", "aim"], claims=claims) == 0
    out = capsys.readouterr().out
    assert "1 run of 1 arm on small, 0 of them done before, about 0 min" in out
    assert "not chosen by --table or --only: 2 of 4" in out
    (first,) = (workplace / "multirun_sweeps" / "reproduce-mine-cpu").iterdir()
    found = verdicts(first)
    assert found["perfect"] == ("not run", "not chosen by --table or --only")
    record = json.loads((first / "verdicts.json").read_text())
    (finding,) = record["claims"][0]["findings"]
    result = json.loads((first / "0" / "result.json").read_text())
    assert finding["mean"] == pytest.approx(
        result["after"]["macro_f1"] - result["before"]["macro_f1"]
    )
    assert (finding["count"], finding["low"], found["gain"][1]) == (
        1,
        None,
        "not shown either way; one run has no interval",
    )

    # All claims: finished runs are found, and a failing run is reported without ending the rest.
    assert reproduce("mine", "cpu", claims=claims) == 3
    out = capsys.readouterr().out
    assert "2 runs of 2 arms on small, 1 of them done before" in out
    assert "1 done (1 of them before), 1 failed" in out
    second = next(path for path in first.parent.iterdir() if path != first)
    found = verdicts(second)
    state, why = found["never"]
    assert state == "not run"
    assert why.startswith("1 of its 2 runs failed; the first, broken on small, seed 1: ")
    assert "99 shots per class were requested" in why
    assert found["gain"] == verdicts(first)["gain"]
    assert found["perfect"][0] == "not reproduced"
    assert (second / "0" / "result.json").samefile(first / "0" / "result.json")

    # Finished runs are judged even where this scale cannot run.
    spec = yaml.safe_load(claims.read_text())
    spec["mine"]["scales"]["cpu"]["gpu"] = "a large one"
    claims.write_text(yaml.safe_dump(spec))
    monkeypatch.setattr(check, "hardware", lambda: {"gpu": None})
    assert reproduce("mine", "cpu", claims=claims) == 0
    found = verdicts(max(first.parent.iterdir(), key=lambda path: path.stat().st_mtime))
    assert found["gain"] == verdicts(first)["gain"]
    assert found["never"] == ("not run", "needs a GPU (a large one); this machine has none")


def test_sets_of_a_folder_run_with_each_number_of_shots_and_a_missing_one_is_told(
    claims: Path, small_data: Path, workplace: Path
) -> None:
    (workplace / "mine").mkdir()
    (workplace / "mine" / "small").symlink_to(small_data)
    spec = yaml.safe_load(claims.read_text())
    scale = spec["mine"]["scales"]["cpu"]
    scale["shots"] = [1, 2]
    scale["sets"] = {
        name: {
            "overrides": [f"name={name}", f"data.path={{folder}}/{name}"],
            "metric": "macro_f1",
        }
        for name in ("small", "absent")
    }
    spec["mine"]["claims"] = [
        claim("gain", "gap", "grown", worse=["grown:before"], at_least=-1.0),
        claim("other", "value", "grown", at_least=0.0, sets={"cpu": ["absent"]}),
        claim("never", "gap", "grown", worse=["broken"], sets={}, skipped={"cpu": "not built"}),
    ]
    claims.write_text(yaml.safe_dump(spec))
    for _ in range(2):
        assert reproduce("mine", "cpu", folder="mine", claims=claims) == 0
    first, second = sorted((workplace / "multirun_sweeps" / "reproduce-mine-cpu").iterdir())
    record = json.loads((first / "verdicts.json").read_text())
    assert record["claims"][0]["findings"][0]["count"] == 2
    assert "--data mine" in record["claims"][0]["command"]
    found = verdicts(first)
    assert found["other"][0] == found["never"][0] == "not run"
    assert found["other"][1].startswith("no folder mine/absent;")
    assert found["never"][1] == "not built"
    # Nothing is done twice.
    assert verdicts(second) == found
    assert (second / "1" / "result.json").samefile(first / "1" / "result.json")


def test_a_claim_about_named_entities_is_judged_by_their_own_metric(
    ner_student: Path, ner_data: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))
    base = tiny_ner.scripted_ner(ner_student, ner_data, workplace / "replies.sqlite")
    scale = {
        "overrides": base,
        "seeds": [1],
        "minutes": 0.1,
        "sets": {"small": {"overrides": ["name=small"], "metric": "f1_strict"}},
    }
    arms = {
        "grown": {
            "title": "EvoKD",
            "overrides": ["method=evokd", *tiny_ner.EVOKD_NER, "method.rounds=1"],
        }
    }
    spec = {
        "title": "Mine",
        "scales": {"cpu": scale},
        "arms": arms,
        "claims": [claim("high", "value", "grown", at_least=0.0)],
    }
    path = workplace / "claims.yaml"
    path.write_text(yaml.safe_dump({"mine": spec}))
    assert reproduce("mine", "cpu", claims=path) == 0
    (folder,) = (workplace / "multirun_sweeps" / "reproduce-mine-cpu").iterdir()
    (finding,) = json.loads((folder / "verdicts.json").read_text())["claims"][0]["findings"]
    assert (
        finding["mean"]
        == json.loads((folder / "0" / "result.json").read_text())["after"]["f1_strict"]
    )


def test_a_claim_of_a_relative_runs_and_is_judged(
    student: Path, small_data: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shipped claim at its smallest scale, with one seed and the scripted teacher."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))
    spec = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    spec["relatives"]["scales"]["cpu"]["seeds"] = [1]
    path = workplace / "claims.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    small = [
        *tiny.scripted(student, small_data, workplace / "replies.sqlite"),
        "method.pool_size=28",
        "training.start_epochs=2",
    ]
    assert reproduce("relatives", "cpu", ["confident_learning"], small, claims=path) == 0
    (folder,) = (workplace / "multirun_sweeps" / "reproduce-relatives-cpu").iterdir()
    record = json.loads((folder / "verdicts.json").read_text())
    claims = {one["id"]: one for one in record["claims"]}
    judged = claims.pop("confident_learning")
    assert (judged["verdict"], judged["why"]) == (
        "not reproduced",
        "not shown either way; one run has no interval",
    )
    assert "arXiv 1911.00068" in judged["paper"]
    kept, every = record["runs"]
    assert (kept["arm"], every["arm"]) == ("confident_learning", "every_row")
    (finding,) = judged["findings"]
    assert finding["mean"] == pytest.approx(kept["score"] - every["score"])
    # Both learn from the same labels, and one of them from fewer rows.
    shares = [
        json.loads((folder / run["folder"] / "result.json").read_text())["share_of_data"]
        for run in (kept, every)
    ]
    assert shares[0]["selections"] < shares[1]["selections"] == 1.0
    assert {one["verdict"] for one in claims.values()} == {"not run"}
