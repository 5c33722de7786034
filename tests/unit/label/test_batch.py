"""`tutelage label` by batch files: the labels of a live server, whatever happens to the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.helpers.batch_service import Service, answer_files, answered
from tests.helpers.fake_server import FakeServer
from tests.helpers.tiny import write_jsonl
from tests.helpers.tiny_ner import TYPES
from tests.unit.label.test_command import content, texts

from tutelage.data.unlabelled import Source
from tutelage.label.batch import BatchFiles, label_by_files
from tutelage.label.command import Job, Sizes, label

SIZES = Sizes(chunk=16, calibrate_on=20)
Overrides = Callable[..., tuple[str, ...]]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    made.chats, made.answer = True, answered
    yield made
    made.stop()


@pytest.fixture
def heap(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "heap.jsonl", [{"text": one} for one in texts(50)])


@pytest.fixture
def asked(server: FakeServer, small_data: Path, ner_data: Path, tmp_path: Path) -> Overrides:
    """Overrides for a server, with a cache by name."""

    def overrides(*more: str, cache: str = "replies", ner: bool = False) -> tuple[str, ...]:
        words = ",".join(f"{name}:{{word:{word}}}" for name, word in TYPES.items())
        data = ["task=ner", f"data.labels={{{words}}}"] if ner else []
        return (
            *data,
            "data=files",
            f"data.path={ner_data if ner else small_data}",
            "labelling.demonstrations=fixed" if not ner else "shots=1",
            "teacher=server",
            f"teacher.url={server.url}",
            "teacher.model=m",
            "teacher.api=chat",
            "teacher.scoring=top",
            f"teacher.cache={tmp_path / cache}.sqlite" if cache else "teacher.cache=null",
            *more,
        )

    return overrides


def by_files(
    overrides: tuple[str, ...],
    heap: Path,
    to: Path,
    requests: Path | None = None,
    replies: Path | None = None,
    sizes: Sizes = SIZES,
) -> int:
    return label_by_files(Job(overrides, Source(heap), to, sizes), BatchFiles(requests, replies))


def in_rounds(
    overrides: tuple[str, ...], heap: Path, to: Path, folder: Path, service: Service = answered
) -> int:
    """Writes and answers requests until there are none; returns the number of rounds."""
    replies = folder / "replies"
    replies.mkdir(parents=True)
    for number in range(1, 6):
        requests = folder / f"round-{number}"
        by_files(overrides, heap, to, requests, replies if number > 1 else None)
        if not requests.exists():
            return number - 1
        answer_files(requests, replies / f"{number}.jsonl", service)
    raise AssertionError("no end of rounds")


@pytest.mark.parametrize(
    ("more", "ner", "rounds"),
    [
        ((), False, 1),
        (("calibration=contextual", "labelling.demonstrations=predictive", "shots=3"), False, 2),
        (("calibration=temperature",), False, 1),
        (("labelling=ensemble", "calibration=batch"), False, 1),
        (("labelling=verify",), True, 1),
        (("labelling=extract",), True, 2),
    ],
)
@pytest.mark.parametrize("cached", [True, False])
def test_the_folder_is_that_of_a_live_server_byte_for_byte(
    asked: Overrides,
    heap: Path,
    tmp_path: Path,
    more: tuple[str, ...],
    ner: bool,
    rounds: int,
    cached: bool,
) -> None:
    live, to = tmp_path / "live", tmp_path / "to"
    label(asked(*more, cache="live", ner=ner), Source(heap), live, SIZES)
    overrides = asked(*more, cache="files" if cached else "", ner=ner)
    assert in_rounds(overrides, heap, to, tmp_path / "batch") == rounds
    assert content(to) == content(live)
    assert json.loads((to / "label.json").read_text())["labelled"] == 48
