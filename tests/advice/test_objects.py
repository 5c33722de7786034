"""Advice in messages of objects that no configuration alone brings about."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial, partialmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.advice.cases import advises
from tests.advice.conftest import composed
from tests.conftest import Command
from tests.helpers.doubles import ScriptedTeacher
from tests.helpers.tiny_student import tiny_tokenizer

from tutelage.config.build import build
from tutelage.errors import TutelageError
from tutelage.teacher.base import GenerateRequest, Sampling

Heard = Callable[..., str]


def said_by(act: Callable[[], object]) -> str:
    with pytest.raises(TutelageError) as caught:
        act()
    return str(caught.value)


def text_limit(*lengths: int) -> Any:
    from tutelage.data.dataset import Dataset
    from tutelage.records import Example, Label

    names = (Label("a", "a", "a"), Label("b", "b", "b"))
    texts = tuple(Example(f"p{n}", "7 " * size, "a") for n, size in enumerate(lengths))
    return Dataset("x", names, texts, (), ())


@advises("The student reads no more", "The student reads more, up to student.max_length={}")
def test_texts_longer_than_a_student_can_read(heard: Heard):
    from tutelage.data.cut_texts import cut_texts
    from tutelage.data.items import ItemEncoder
    from tutelage.tasks.classification import ClassificationTask

    data = text_limit(30, 30, 30)

    def said(max_length: int, limit: int) -> str:
        task = ClassificationTask(data.labels)
        return cut_texts(ItemEncoder(task, tiny_tokenizer(), max_length), data, limit)[0]

    heard(said(16, 16), "The student reads no more")
    longer = heard(said(16, 24), "The student reads more, up to student.max_length={}")
    advised = int(re.findall(r"up to student.max_length=(\d+)", longer)[0])
    # As far as this student goes; after that, a student.model= that reads longer texts.
    heard(said(advised, 24), "The student reads no more")
    assert not said(32, 64)


@advises("has no padding token; choose another", "is not a fast one, so it cannot assign")
def test_tokenizers(heard: Heard, student: Path):
    from tutelage.data.tokens import check_tokenizer
    from tutelage.student.checkpoint import load_tokenizer

    form: Any = SimpleNamespace(head="token")
    bare = tiny_tokenizer()
    bare.pad_token = None
    heard(said_by(lambda: check_tokenizer(bare, form)), "has no padding token; choose another")
    slow = SimpleNamespace(pad_token_id=0, is_fast=False, name_or_path="slow")
    said = said_by(lambda: check_tokenizer(slow, form))
    heard(said, "is not a fast one, so it cannot assign")
    check_tokenizer(load_tokenizer(str(student), head="token"), form)


@advises(
    "teacher.quantization=int8 is for CPUs",
    "teacher.quantization=int8 goes neither with",
    "teacher.quantization=int8 needs the model in a folder",
    "teacher.quantization=int8: {}. Set",
    "has no AVX-512 VNNI",
)
def test_int8_where_it_does_not_run(heard: Heard, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    from tutelage.teacher.engines.hardware import Hardware
    from tutelage.teacher.engines.int8 import choose_quantization

    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "awq"}}')
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text("{}")
    save_file({"model.layers.0.mlp.up_proj.weight": torch.ones(2, 2)}, plain / "model.safetensors")
    cpu, gpu = Hardware("cpu", 2, False, int8_units=True), Hardware("gpu", 2, True)
    for model, hardware, other, fragment in (
        (plain, gpu, False, "teacher.quantization=int8 is for CPUs"),
        (plain, cpu, True, "teacher.quantization=int8 goes neither with"),
        ("a/b", cpu, False, "teacher.quantization=int8 needs the model in a folder"),
        (tmp_path, cpu, False, "teacher.quantization=int8: {}. Set"),
    ):
        choose: Any = partial(
            choose_quantization, model=str(model), hardware=hardware, engine_quantises=other
        )
        heard(said_by(partial(choose, "int8")), fragment)
        assert choose("none") == "none"
    choose = partial(choose_quantization, model=str(plain), engine_quantises=False)
    assert choose("int8", hardware=Hardware("cpu", 2, False)) == "int8"
    heard(caplog.text, "has no AVX-512 VNNI")
    assert choose("int8", hardware=cpu) == "int8"


@advises("student.model={} could not be loaded", "Unknown student.pooling={}")
def test_students(heard: Heard, student: Path, workplace: Path):
    from tutelage.student.checkpoint import new_classifier

    (workplace / "broken").mkdir()
    (workplace / "broken" / "config.json").write_text("{}")
    said = said_by(lambda: new_classifier("broken", ["a", "b"], "mean", 0.0))
    heard(said, "student.model={} could not be loaded")
    said = said_by(lambda: new_classifier(str(student), ["a", "b"], "last", 0.0))  # type: ignore[arg-type]
    heard(said, "Unknown student.pooling={}")
    assert "Give mean, normalized_mean or first" in said
    for pooling in ("mean", "normalized_mean", "first"):
        new_classifier(str(student), ["a", "b"], pooling, 0.0)


@advises("loss.parameters={}: {} has no such trainable")
def test_a_student_without_the_parameters_of_a_loss(heard: Heard):
    from tutelage.student.losses.meta import MetaReweightedLoss

    network = torch.nn.ModuleDict({"proj": torch.nn.Linear(2, 2)})
    heard(said_by(lambda: MetaReweightedLoss("head")._trained(network)))
    assert MetaReweightedLoss("all")._trained(network)
    build(composed(["loss=cross_entropy"]).loss, "loss")


@advises("select=answer_difficulty compares each text with an empty one")
def test_a_tokenizer_that_gives_nothing_for_nothing(heard: Heard):
    from tutelage.student.epoch_view import _of_empty_text

    nothing: Any = None
    heard(said_by(lambda: _of_empty_text(nothing, nothing, nothing, ())))
    build(composed(["select=every_row"]).select, "select")


@advises("select=gradient_similarity compares rows with gold rows")
def test_an_epoch_without_gold_rows(heard: Heard):
    from tutelage.selectors.row_selection import GradientSimilarity

    def view(*gold: bool) -> Any:
        count = len(gold)
        return SimpleNamespace(
            ids=[str(n) for n in range(count)],
            gold=np.array(gold),
            gradients=np.ones((count, 2)),
            groups=np.zeros(count, dtype=np.int64),
            classes=1,
            rate=1.0,
        )

    heard(said_by(lambda: GradientSimilarity().scores(view(False, False))))
    assert len(GradientSimilarity().scores(view(True, False))) == 2


@advises("temperature calibration needs labelled dev texts")
def test_a_temperature_without_dev_labels(heard: Heard):
    logprobs = np.log(np.full((3, 2), 0.5))
    fitted = build(composed(["calibration=temperature"]).calibration, "calibration")
    said = heard(said_by(lambda: fitted.fit(logprobs)))
    (advised,) = re.findall(r"calibration=\w+", said)
    build(composed([advised]).calibration, "calibration").transform(logprobs)


# Plans.


@advises("budget.tokens={} is smaller than one round (about", "None of the texts gives a request")
def test_what_a_plan_says(
    tutelage: Command, heard: Heard, base: Callable[[str], list[str]], workplace: Path
):
    small = ("method.n_hard=28", "method.n_easy=28", "budget.tokens=900")
    own = base("classification")
    said = tutelage("plan", *own, *small).err
    heard(said, "budget.tokens={} is smaller than one round (about")
    assert not tutelage("plan", *own, *small[:2], "budget.tokens=1000000").code
    assert not tutelage("plan", *own, "method.n_hard=1", "method.n_easy=1", small[2]).code

    from tests.advice.data_cases import NAMES, SMALL, jsonl

    (workplace / "mine").mkdir()
    for name, text in {**NAMES, "train.jsonl": jsonl(*SMALL)}.items():
        (workplace / "mine" / name).write_text(str(text))
    names = [
        *(one for one in base("ner") if not one.startswith(("data.path", "data.labels"))),
        *("data.path=mine", "method=llkd"),
    ]
    said = tutelage("plan", *names, "labelling.candidates=[capitals]").err
    heard(said, "None of the texts gives a request")
    (advised,) = re.findall(r"labelling\.candidates=\[\w+\]", said)
    for candidates in (advised, "labelling.candidates=[ngrams]"):
        assert not tutelage("plan", *names, candidates).code


# A run's folder in use.


@advises("Another process is using {}")
def test_a_folder_in_use(
    heard: Heard,
    base: Callable[[str], list[str]],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    import tutelage
    from tutelage.runs.folder import RunFolder

    small = [*base("classification"), "method=shots", "shots=1", "evaluate.supervised=false"]
    (workplace / "here").mkdir()
    monkeypatch.setattr(RunFolder, "lock", partialmethod(RunFolder.lock, wait=0.0))
    with RunFolder(workplace / "here").lock():
        heard(said_by(lambda: tutelage.train(*small, folder="here", progress=False)))
        tutelage.train(*small, folder="there", progress=False)
    tutelage.train(*small, folder="here", progress=False)


# Reproductions.


@advises("--set {}: the claims set", "--only {} names no claim of --table {}")
def test_what_reproduce_says(tutelage: Command, heard: Heard):
    dry = ("reproduce", "evokd", "--dry-run")
    heard(tutelage(*dry, "--set", "seed=3").err, "--set {}: the claims set")
    listed = said_claims(tutelage)
    said = tutelage(*dry, "--only", listed["ablations"], "--table", "main").err
    heard(said, "--only {} names no claim of --table {}")
    assert not tutelage(*dry, "--only", listed["ablations"]).code
    assert not tutelage(*dry, "--table", "main").code


def said_claims(tutelage: Command) -> dict[str, str]:
    from tutelage.reproduce.reading import read_papers

    claims = read_papers()["evokd"].claims
    return {
        table: next(c.id for c in claims if c.table == table) for table in ("main", "ablations")
    }


# Teachers.


def request(prompt: str = "play") -> GenerateRequest:
    return GenerateRequest("1", prompt, Sampling())


@advises(
    "the recording {} cannot be read: {}",
    "line {} of the recording {} cannot be read",
    "{} is not a recording: its first line",
    "the recording {} has no token ids",
    "the recording {} has no reply to request",
)
def test_recordings(heard: Heard, workplace: Path):
    from tutelage.teacher.engines.replay import RecordingTeacher, ReplayTeacher

    path = workplace / "r.jsonl"
    said = said_by(lambda: ReplayTeacher(path))
    heard(said, "the recording {} cannot be read: {}")

    def recorded(message: str) -> ReplayTeacher:
        """Records as the message says: with teacher.record=."""
        (name,) = re.findall(r"teacher\.record=(\S+?)\.? ?$", message)
        target = path if name == "<file>" else Path(name)
        RecordingTeacher(ScriptedTeacher(), target).ask([request()])
        RecordingTeacher(ScriptedTeacher(), target).tokenize(["play"])
        return ReplayTeacher(target)

    replay = recorded(said)
    replay.ask([request()])
    said = said_by(lambda: replay.tokenize(["stop"]))
    heard(said, "the recording {} has no token ids")
    RecordingTeacher(ScriptedTeacher(), path).tokenize(["stop"])
    ReplayTeacher(path).tokenize(["stop"])
    said = said_by(lambda: replay.ask([request("stop")]))
    heard(said, "the recording {} has no reply to request")
    RecordingTeacher(ScriptedTeacher(), path).ask([request("stop")])
    ReplayTeacher(path).ask([request("stop")])
    for content, fragment in (
        ("", "{} is not a recording: its first line"),
        ("notes\n", "line {} of the recording {} cannot be read"),
    ):
        path.write_text(content)
        said = heard(said_by(lambda: ReplayTeacher(path)), fragment)
        path.rename(workplace / "away")
        recorded(said)


@advises("{} tokens are billed and the limit is {}")
def test_a_budget(heard: Heard):
    from tutelage.teacher.wrappers.budget import BudgetedTeacher

    teacher = BudgetedTeacher(ScriptedTeacher(), 1)
    teacher.ask([request()])
    heard(said_by(lambda: teacher.ask([request()])))
    larger = BudgetedTeacher(ScriptedTeacher(), 1000)
    larger.load_state_dict(teacher.state_dict())
    larger.ask([request()])


@advises("teacher.api_key_env is not the name")
def test_a_key(heard: Heard, monkeypatch: pytest.MonkeyPatch):
    from tutelage.teacher.engines.server_key import ApiKey

    heard(said_by(lambda: ApiKey("my key")))
    monkeypatch.setenv("OPENAI_API_KEY", "my key")
    assert ApiKey("OPENAI_API_KEY").headers


@advises("there is no prompt.{}.{}, which this run needs")
def test_a_prompt_without_a_template(heard: Heard):
    plain = build(composed([]).prompt, "prompt")
    heard(said_by(lambda: plain.require("rewrite")))
    overrides = ["task=ner", "data=wikigold", "prompt/templates@prompt=ner"]
    build(composed(overrides).prompt, "prompt").require("rewrite")
