"""Exports of tiny random students: they predict like the student, or nothing is written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from tests.helpers.ner_folders import TYPES, build_ner_run
from tests.helpers.run_folders import LABELS, build_run
from tests.helpers.tiny_student import tiny_encoder, tiny_tokenizer

from tutelage import export as exporting
from tutelage.errors import ConfigError, RunError, StudentError
from tutelage.export import TOLERANCE, export
from tutelage.predict import predict
from tutelage.records import Label
from tutelage.student.checkpoint import new_classifier, new_tagger, save_student
from tutelage.student.inference import load
from tutelage.student.peers import PeerNetworks
from tutelage.tasks.ner import NerTask

TAGS = NerTask([Label(name, name.lower(), f"names of {name}") for name in TYPES]).outputs


def built(base: Path, task: str, networks: int = 1) -> Path:
    """A finished run with a random student whose head is not near zero."""
    encoder = str(tiny_encoder(base / "encoder"))
    torch.manual_seed(5)
    made = []
    for _ in range(networks):
        network = (
            new_tagger(encoder, TAGS)
            if task == "ner"
            else new_classifier(
                encoder,
                LABELS,
                "mean",
                0.0,
                encoder="static" if task == "static" else "transformer",
            )
        )
        torch.nn.init.normal_(network.classifier.weight, std=0.5)
        made.append(network.eval())
    build = build_ner_run if task == "ner" else build_run
    run = build(base / "run", test_count=40)
    network = made[0] if networks == 1 else PeerNetworks(made)
    save_student(run / "student", network, tiny_tokenizer(), 12)
    return run


@pytest.fixture(scope="module", params=["classification", "static", "ner"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return built(tmp_path_factory.mktemp(request.param), request.param)


def texts_of(run: Path) -> list[str]:
    lines = (run / "predictions" / "test-after.jsonl").read_text(encoding="utf-8").splitlines()
    # One is longer than the student reads at once, and one has no known word.
    return [*(json.loads(line)["text"] for line in lines), "animal dune quay " * 9, "§"]


def close(one: Any, two: Any, tolerance: float) -> bool:
    """Whether two predictions are the same but for the last digits of their numbers."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(close(one[k], two[k], tolerance) for k in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(close, one, two, [tolerance] * len(one)))
    return abs(one - two) <= tolerance if isinstance(one, float) else one == two


@pytest.mark.parametrize("format", ["hf", "onnx"])
def test_an_export_predicts_like_the_student(run: Path, tmp_path: Path, format: Any) -> None:
    found, folder = export(run, format, tmp_path / "made")
    assert found.largest_difference <= TOLERANCE
    assert (found.equal, found.score_difference) == (1.0, 0.0)
    texts = texts_of(run)
    ours, theirs = load(run).predict(texts), load(folder).predict(texts)
    assert any(one.get("entities") or one.get("label") for one in ours)
    assert close(ours, theirs, 1.1e-4)
    record = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    assert (record["format"], record["split"], record["texts"]) == (format, "test", 40)
    assert all(value > 0 for value in record["export"]["latency_ms"].values())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"on 40 test texts | {record['student']['score']:.1%}"[:-1] in card
    assert ("onnxruntime.InferenceSession" in card) is (format == "onnx")
    # Nothing in the folder says where on this machine the encoder was.
    for path in folder.glob("*.json"):
        assert str(tmp_path.parent) not in path.read_text(encoding="utf-8")


def test_weights_of_8_bits_are_nearly_the_student_s_and_smaller(run: Path, tmp_path: Path) -> None:
    found, folder = export(run, "onnx-int8", tmp_path / "made")
    assert found.equal >= 0.8
    assert 0 < found.largest_difference < 0.6
    graph = onnx.load(folder / "model.onnx").graph
    # Of so small a network the graph takes more room than its weights.
    kinds = Counter(one.data_type for one in graph.initializer if len(one.dims) == 2)
    assert kinds[onnx.TensorProto.INT8] > kinds[onnx.TensorProto.FLOAT]
    # A matrix has one scale per column: with one for all of it students lose points.
    columns = {one.name: one.dims[-1] for one in graph.initializer if len(one.dims) == 2}
    scales = {one.name: list(one.dims) for one in graph.initializer if "_scale" in one.name}
    multiplied = [node.input[1] for node in graph.node if node.op_type == "MatMulInteger"]
    assert multiplied
    for name in multiplied:
        assert scales[name.replace("_quantized", "_scale")] == [columns[name]]
    assert sorted(path.name for path in folder.glob("*.onnx")) == ["model.onnx"]
    assert load(folder).labels == load(run).labels


def test_transformers_loads_the_export(run: Path, tmp_path: Path) -> None:
    found, folder = export(run, "hf", tmp_path / "made")
    if found.task == "classification":
        assert found.pipeline_equal == 1.0
    # Tokens, not our words, are tagged one by one there, and tags need not fit together.
    assert found.pipeline_equal is not None
    assert 0.0 <= found.pipeline_equal <= 1.0
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == 12
    assert len(config["id2label"]) == len(found.labels)


def test_a_graph_has_the_mean_of_two_networks(tmp_path: Path) -> None:
    run = built(tmp_path, "classification", networks=2)
    with pytest.raises(ConfigError, match=r"this student has two \(student\.peers=2\)"):
        export(run, "hf")
    found, folder = export(run, "onnx")
    assert folder == run / "export" / "onnx"
    assert found.largest_difference <= TOLERANCE


def test_another_model_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutelage.student import onnx as graphs

    run = built(tmp_path, "classification")
    write = graphs.write_graph

    def spoilt(network: Any, file: Path) -> None:
        with torch.no_grad():
            network.classifier.bias[0] += 0.05
        write(network, file)
        with torch.no_grad():
            network.classifier.bias[0] -= 0.05

    monkeypatch.setattr(graphs, "write_graph", spoilt)
    with pytest.raises(StudentError, match=r"on 40 test texts a probability differs by 0\.0"):
        export(run, "onnx", tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder", "run"]


def test_only_an_export_is_overwritten(tmp_path: Path) -> None:
    run = built(tmp_path, "classification")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(
        ConfigError, match=r"mine exists and is no export.*another folder with --to"
    ):
        export(run, "hf", tmp_path / "mine")
    for _ in range(2):
        export(run, "hf", tmp_path / "made")
    status = run / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "running"}))
    with pytest.raises(RunError, match=r"is not finished \(its state is running\)"):
        export(run, "hf", tmp_path / "made")


def test_a_graph_without_its_runtime_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = built(tmp_path, "classification")
    _, folder = export(run, "onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"package onnxruntime.*pip install 'tutelage\[export\]'"):
        predict(folder, ["animal"], None, None)


def test_a_damaged_graph_is_one_sentence(tmp_path: Path) -> None:
    run = built(tmp_path, "classification")
    _, folder = export(run, "onnx")
    (folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(StudentError, match=r"could not be loaded: "):
        load(folder)


def test_the_verb_prints_a_table(tmp_path: Path, tutelage: Any) -> None:
    run = built(tmp_path, "classification")
    ended = tutelage("export", str(run), "--format", "onnx", "--to", str(tmp_path / "made"))
    assert ended.code == 0, ended.err
    assert "MB of weights" in ended.out
    assert "Of 40 test texts 100.0% have equal predictions" in ended.out
    ended = tutelage("predict", str(tmp_path / "made"), "animal dune")
    assert json.loads(ended.out)["label"] in LABELS


def test_dev_texts_are_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from tutelage.records import Example

    run = built(tmp_path, "classification")
    dev = SimpleNamespace(dev=[Example("a", "animal dune", LABELS[0])])
    monkeypatch.setattr(exporting, "dataset_of", lambda *_, **__: (dev, ()))
    found, _ = export(run, "hf")
    assert (found.split, found.texts) == ("dev", 1)
