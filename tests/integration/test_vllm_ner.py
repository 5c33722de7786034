"""NER on the real engine: the main job in small with verify, and markings by extract."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tests.classroom import prompt_set
from tests.newsroom import SHOTS, TYPES
from tests.real_runs import SMALL_ENGINE, paid_for, same_from_the_cache, train
from tests.tiny import SAMPLE

from tutelage.compose import conf_directory
from tutelage.data.pool import Pool
from tutelage.methods.names import mentions_of
from tutelage.tasks.spans import read_spans
from tutelage.teacher.calibration import NoCalibration
from tutelage.teacher.candidates import Candidates
from tutelage.teacher.labelling import Draft
from tutelage.teacher.span_extractor import SpanExtractor
from tutelage.teacher.span_verifier import SpanVerifier
from tutelage.teacher.vllm_process import VllmTeacher

pytestmark = pytest.mark.vllm


def wikigold(folder: Path) -> list[str]:
    """The first sentences of the shipped sample, with the words and descriptions of conf/data/wikigold.yaml."""
    folder.mkdir()
    for split, source, count in (("train", "pool", 60), ("validation", "dev", 12), ("test", "test", 24)):
        given = (SAMPLE.parent / "wikigold" / f"{source}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"{split}.jsonl").write_text("".join(given[:count]), encoding="utf-8")
    labels = OmegaConf.load(conf_directory() / "data" / "wikigold.yaml").labels
    listed = ",".join(f'{name}:{{word:{label.word},description:"{label.description}"}}' for name, label in labels.items())
    return ["task=ner", "data=files", f"data.path={folder}", f"data.labels={{{listed}}}"]


def test_the_main_job_runs_on_real_parts_and_again_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    words = [
        *wikigold(tmp_path / "data"),
        *SMALL_ENGINE,
        f"teacher.cache={tmp_path / 'replies.sqlite'}",
        "method.rounds=1",
        "method.n_hard=6",
        "method.n_easy=6",
        "method.training.start_epochs=8",
        "method.training.round_epochs=1",
        "method.training.final_epochs=1",
    ]
    first = train(tmp_path / "first", *words)
    paid_for(tmp_path / "first", first)
    rows = Pool.open(tmp_path / "first" / "pool" / "rows.jsonl").rows
    grown = [row for row in rows if row.source != "gold"]
    assert len(grown) == 12
    assert any(row.accepted for row in grown)
    for row in grown:
        assert bool(row.reason) is not row.accepted
        if row.accepted:
            spans = read_spans(row.target)
            assert row.asked in {type for _, type in mentions_of(row.text, row.target)}
            assert len(row.entity_confidence) == len(spans)
            assert row.distribution is not None
            assert row.distribution.labels == ("PER", "LOC", "ORG", "MISC", "O")
    assert 0.0 <= first["after"]["f1_strict"] <= 1.0
    same_from_the_cache(tmp_path / "first", tmp_path / "second", words, monkeypatch)


def test_a_small_model_s_markings_are_valid_or_refused_with_the_reason(engine: VllmTeacher):
    prompts = prompt_set("completion_ner")
    verifier = SpanVerifier(engine, TYPES, prompts, SHOTS, NoCalibration(), Candidates())
    extractor = SpanExtractor(engine, TYPES, prompts, SHOTS, verifier, max_tokens=128)
    drafts = [
        Draft("Marie Curie was born in Warsaw and worked in Paris ."),
        Draft("The engine was built by Rolls Royce near Derby ."),
        Draft("it rained for three days and nobody went out"),
    ]
    labelled = extractor.label(drafts)
    assert labelled.asked >= 3
    for place, (draft, opinion) in enumerate(zip(drafts, labelled.opinions, strict=True)):
        assert (opinion is None) is (place in labelled.errors)
        if opinion is None:
            assert labelled.errors[place]
            continue
        assert sum(opinion.distribution.probabilities) == pytest.approx(1, abs=1e-4)
        assert all(0.0 <= probability <= 1.0 for _, probability in opinion.entities)
        ends = [0, *(end for span, _ in opinion.entities for end in span[:2]), len(draft.text.split(" "))]
        assert ends == sorted(ends), "spans are words of the sentence and share none"
