"""The attempts that a message is provoked by, and that its advice is tried in."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tests.advice.cases import Attempt, Case, Outcome, site_of
from tests.helpers import tiny, tiny_ner
from tests.helpers.options import GROUPS

from tutelage.config.build import build_dataset
from tutelage.config.compose import compose_config, compose_hydra
from tutelage.config.overrides import readable
from tutelage.config.schema import RunConfig
from tutelage.config.typed import typed_config
from tutelage.errors import TutelageError
from tutelage.progress import NoProgress
from tutelage.run import run
from tutelage.training import gold_for


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
    student: Path,
    calm: Path,
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
            words = [
                word.replace("{student}", str(student)).replace("{calm}", str(calm))
                for word in words
            ]
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

    acts = {
        "compose": compose,
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
    """The base with the words, which replace settings of the same key; "-key" only leaves it out."""
    keys = {word.lstrip("+~-").partition("=")[0] for word in words}
    kept = [one for one in base if one.lstrip("+").partition("=")[0] not in keys]
    return [*kept, *(word for word in words if not word.startswith("-"))]
