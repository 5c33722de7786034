"""The attempts that a message is provoked by, and that its advice is tried in."""

from __future__ import annotations

import copy
import json
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tests.advice.cases import Attempt, Case, Outcome, site_of
from tests.helpers import tiny, tiny_ner
from tests.helpers.fake_server import FakeServer, completion
from tests.helpers.options import GROUPS

from tutelage.config.build import build_dataset
from tutelage.config.build_fit import gold_for
from tutelage.config.build_teacher import build_prompts, build_stack
from tutelage.config.compose import compose_config, compose_hydra
from tutelage.config.overrides import readable
from tutelage.config.schema import RunConfig
from tutelage.config.typed import typed_config
from tutelage.errors import TutelageError
from tutelage.progress import NoProgress
from tutelage.run import run
from tutelage.teacher.base import Chat, GenerateRequest, Message, Prompt, Sampling


class _Reached(BaseException):
    """The run is about to train."""


class _Told(NoProgress):
    """Collects the lines that a run puts on the terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, message: str) -> None:
        self.lines.append(message)

    warn = notice


@pytest.fixture(scope="session")
def few_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.small_data(tmp_path_factory.mktemp("data") / "few", 6, 2, 2)


@pytest.fixture(scope="session")
def few_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_ner.ner_data(tmp_path_factory.mktemp("data") / "few", 12, 6, 6)


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory, student: Path) -> Path:
    """The tiny student without dropout."""
    folder = tmp_path_factory.mktemp("models") / "calm"
    shutil.copytree(student, folder)
    config = json.loads((folder / "config.json").read_text())
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps({**config, **still}))
    return folder


@pytest.fixture
def places(
    student: Path, calm: Path, lm: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """What the marks in a case's words stand for; files that a teacher is given lie beside."""
    monkeypatch.setenv("A_KEY", "a-valid-key")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (workplace / "notes.txt").write_text("notes of something else " * 50)
    for name, version in (("other", 0), ("later", 99)):
        with closing(sqlite3.connect(workplace / f"{name}.sqlite")) as database:
            database.execute(f"CREATE TABLE {'claims' if version else 'songs'} (name)")
            database.execute(f"PRAGMA user_version = {version}")
    (workplace / "recorded.jsonl").write_text('{"recording": 1, "fingerprint": "another"}\n')
    server = Server()
    yield {"{student}": student, "{calm}": calm, "{lm}": lm, "{url}": server.address}
    server.close()


class Server:
    """A server that starts when its address is asked for."""

    def __init__(self) -> None:
        self._server: FakeServer | None = None

    @property
    def address(self) -> Server:
        return self

    def __str__(self) -> str:
        if self._server is None:
            self._server = server = FakeServer()
            server.models = [{"id": "m"}]
            server.answer = lambda path, body: _answer(path, body, server.headers[-1])
        return self._server.url.removesuffix("/v1")

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()


def _answer(path: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
    """Knows the model "m"; has other addresses for other faults."""
    if path.startswith("/moved"):
        return 301, {"error": {"message": "moved"}}, {"Location": "/v1"}
    if path.startswith("/locked") and "a-valid-key" not in str(headers):
        return 401, {"error": {"message": "no key"}}
    if path.startswith("/none"):
        return 404, {"error": {"message": "Not Found"}}
    if path.startswith("/chatty"):
        chat = {"choices": [{"message": {"content": "ok"}}], "usage": {}}
        known = path.endswith("/chat/completions")
        return (200, chat) if known else (404, {"error": {"message": "Not Found"}})
    if body.get("model") != "m":
        return 404, {"error": {"message": f"The model {body.get('model')} does not exist."}}
    if not path.endswith("/completions"):
        return 404, {"error": {"message": "Not Found"}}
    return 200, completion("a tune")


@pytest.fixture(scope="session")
def lm(tmp_path_factory: pytest.TempPathFactory, student: Path) -> Path:
    """A tiny causal language model with the student's tokenizer."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("models") / "lm"
    tokenizer = AutoTokenizer.from_pretrained(student)
    torch.manual_seed(0)
    sizes = {"n_positions": 64, "n_embd": 8, "n_layer": 1, "n_head": 1}
    ends = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes, **ends)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def placed(places: dict[str, Any]) -> Callable[[Case], Case]:
    """Puts places into a case's words."""

    def put(word: str) -> str:
        for mark, place in places.items():
            word = word.replace(mark, str(place)) if mark in word else word
        return word

    def put_all(case: Case) -> Case:
        fixes = tuple(
            put(fix) if isinstance(fix, str) else tuple(map(put, fix)) for fix in case.fixes
        )
        return replace(case, given=tuple(map(put, case.given)), fixes=fixes)

    return put_all


QUICK = ("training.start_epochs=1", "training.round_epochs=1", "training.final_epochs=0")


@pytest.fixture
def base(
    student: Path, ner_student: Path, few_texts: Path, few_names: Path, workplace: Path
) -> Callable[[str], list[str]]:
    """Overrides of a small run of a task."""

    def chosen(task: str) -> list[str]:
        cache = workplace / "replies.sqlite"
        if task == "ner":
            return [*tiny_ner.scripted_ner(ner_student, few_names, cache), *QUICK]
        return [*tiny.scripted(student, few_texts, cache), *QUICK]

    return chosen


@pytest.fixture
def attempts(
    base: Callable[[str], list[str]],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Case], Attempt]:
    """Returns the attempt of a case."""
    numbers = iter(range(1000))

    def reached(*_: Any, **__: Any) -> None:
        raise _Reached

    def do(case: Case, words: Sequence[str], act: Callable[[list[str], _Told], None]) -> Outcome:
        told = _Told()
        own = ["data.path=mine", "data.labels=null"] if case.files else []
        heard = _Heard(told.lines)
        logging.getLogger("tutelage").addHandler(heard)
        try:
            act(_merged(_merged(base(case.task), own), words), told)
        except TutelageError as error:
            return Outcome((*told.lines, str(error)), failed=True)
        except _Reached:
            pass
        finally:
            logging.getLogger("tutelage").removeHandler(heard)
        return Outcome(tuple(told.lines), failed=False)

    def compose(words: list[str], told: _Told) -> None:
        compose_config(words)

    def load(words: list[str], told: _Told, *, checks: bool = True) -> None:
        config = composed(words, checks=checks)
        dataset = build_dataset(config)
        told.lines += [*dataset.warnings, *dataset.notes]
        gold_for(config, dataset)

    def train(words: list[str], told: _Told, *, checks: bool = True) -> None:
        config = composed(words, checks=checks)
        folder = workplace / f"run-{next(numbers)}"
        result = run(config, folder, told, "the command", resume=False)
        told.lines += result["warnings"]

    def begin(words: list[str], told: _Told, *, checks: bool = True) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("pytorch_lightning.Trainer.fit", reached)
            train(words, told, checks=checks)

    def teacher(words: list[str], told: _Told) -> None:
        config = composed(words)
        stack = build_stack(config, workplace / f"run-{next(numbers)}")
        try:
            stack.begin(told.lines.append)
            stack.teacher.tokenize(["music"])
            asked = "play some music on a tune"
            chats = build_prompts(config, stack.engine).asks_in_messages("easy")
            prompt: Prompt = Chat((Message("user", asked),)) if chats else asked
            request = GenerateRequest("1", prompt, Sampling(max_tokens=4))
            told.lines += [reply.error for reply in stack.teacher.ask([request]) if reply.error]
        finally:
            stack.close()

    acts = {
        "compose": compose,
        "teacher": teacher,
        "load": load,
        "begin": begin,
        # As from Python, where no composition checks the values first.
        "object": partial(begin, checks=False),
        "train": train,
    }

    def attempt(case: Case) -> Attempt:
        for name, content in case.files.items():
            path = workplace / "mine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        chosen = acts.get(case.by)
        if case.files:
            loads = {"begin": load, "object": partial(load, checks=False), "begin files": begin}
            chosen = loads[case.by]
        return lambda words: do(case, words, chosen)

    return attempt


@pytest.fixture
def heard(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Asserts that a text has the messages that the test advises on; returns it."""
    expected = list(request.function.fragments)

    def check(text: str, *only: str) -> str:
        for fragment in only or expected:
            assert fragment in expected
            site = site_of(fragment)
            assert site.pattern.search(text), f"{site} is not in {text!r}"
        return text

    return check


def composed(words: Sequence[str], *, checks: bool = True) -> RunConfig:
    """The configuration of a run, ten times as fast as Hydra composes one."""
    written = readable(words)
    if any(word.startswith(("+", "~")) for word in written):
        return compose_config(words)
    options = [word for word in written if word.partition("=")[0] in GROUPS]
    config = copy.deepcopy(_chosen(*options))
    for word in written:
        if word in options:
            continue
        parsed = OverridesParser.create().parse_override(word)
        key = parsed.key_or_group
        above, _, name = key.rpartition(".")
        node = OmegaConf.select(config, above) if above else config
        if node is None or name not in node.keys():  # noqa: SIM118 (a missing value is no member)
            return compose_config(words)  # with its message about an unknown key
        OmegaConf.update(config, key, parsed.value(), merge=False)
    return typed_config(config, import_targets=checks)


@cache
def _chosen(*options: str) -> Any:
    return compose_hydra(options)


class _Heard(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


def _merged(base: Sequence[str], words: Sequence[str]) -> list[str]:
    """The base with the words in place of settings of the same key; "-key" leaves one out."""
    keys = {word.lstrip("+~-").partition("=")[0] for word in words}
    kept = [one for one in base if one.lstrip("+").partition("=")[0] not in keys]
    return [*kept, *(word for word in words if not word.startswith("-"))]
