"""`tutelage label`: a heap in chunks, the same files after any interruption, for both tasks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from tests.helpers.ner_teacher import make_name
from tests.helpers.teachers import ASKS, KEYWORDS, LabelWritingTeacher
from tests.helpers.tiny import scripted, write_jsonl
from tests.helpers.tiny_ner import scripted_ner

from tutelage.cli import main
from tutelage.config.build import build_dataset
from tutelage.config.compose import compose_config
from tutelage.data.unlabelled import Source
from tutelage.errors import BudgetExhausted, ConfigError, DataError, TeacherError
from tutelage.label import command
from tutelage.label.command import Sizes, label
from tutelage.teacher.base import OnReply, Reply, Request

SIZES = Sizes(chunk=16, calibrate_on=20)


class RefusingTeacher(LabelWritingTeacher):
    """Refuses every request about a text that says so."""

    def _reply(self, request: Request) -> Reply:
        if "refuse" in str(request.prompt).rsplit("Text: ", 1)[-1]:
            return Reply(request.id, error="the server is busy")
        return super()._reply(request)


class WaitingTeacher(LabelWritingTeacher):
    """Answers nothing after the calibration until a file "go" lies beside the folder."""

    def __init__(self, *, folder: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._calibration = Path(folder, "calibration.json")
        self._go = Path(folder).with_name("go")

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        while self._calibration.exists() and not self._go.exists():
            time.sleep(0.01)
        return super().ask(requests, on_reply)


@pytest.fixture(params=["classification", "ner"])
def asked(
    request: pytest.FixtureRequest, small_data: Path, ner_data: Path, tmp_path: Path
) -> Callable[..., list[str]]:
    """Overrides of both tasks, with a cache by name."""

    def overrides(cache: str = "replies", **teacher: object) -> list[str]:
        make, data = (scripted_ner, ner_data) if request.param == "ner" else (scripted, small_data)
        return make(tmp_path / "no-student", data, tmp_path / f"{cache}.sqlite", **teacher)

    return overrides


@pytest.fixture
def classes(small_data: Path, tmp_path: Path) -> list[str]:
    return scripted(tmp_path / "no-student", small_data, tmp_path / "replies.sqlite")


@pytest.fixture
def heap(tmp_path: Path) -> Path:
    """50 texts that make sense for both tasks, with two empty ones and a copy of the first."""
    return write_heap(tmp_path / "heap.jsonl", 50)


def write_heap(path: Path, count: int) -> Path:
    return write_jsonl(path, [{"text": text} for text in texts(count)])


def texts(count: int) -> list[str]:
    import random

    rng = random.Random(3)
    found = []
    for number in range(count):
        words = rng.choice(sorted(KEYWORDS.values()))
        name = make_name(rng.choice(["person", "place", "organization"]), rng)
        found.append(f"{rng.choice(words)} number {number} for {name} please")
    found[4] = found[9] = " "
    found[-1] = found[0]
    return found


def rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "data").glob("part-*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def content(folder: Path) -> dict[str, bytes]:
    """Every file but the transcript, which has a line for each time that a reply was needed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "teacher" not in path.parts
    }


def test_every_text_has_a_label_or_a_reason(
    asked: Any, heap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "to"
    assert label(asked(), Source(heap), to, SIZES) == 0
    found, record = rows(to), json.loads((to / "label.json").read_text())
    is_ner = record["task"] == "ner"
    assert [row["row"] for row in found] == list(range(1, 51))
    assert {row["file"] for row in found} == {"heap.jsonl"}
    assert [row["row"] for row in found if row["reason"]] == [5, 10]
    assert {row["reason"] for row in found} == {"", "the text is empty"}
    assert (record["texts"], record["labelled"], record["failed"]) == (50, 48, 2)
    assert record["reasons"] == {"the text is empty": 2}
    assert record["complete"]
    given = [row for row in found if not row["reason"]]
    for row in given:
        assert 0 < row["confidence"] <= 1
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-4)
        assert len(row["probabilities"]) == len(record["probabilities_of"])
    if is_ner:
        assert all(len(row["tags"]) == len(row["tokens"]) for row in given)
        types = [one["type"] for row in given for one in row["entities"]]
        assert record["classes"] == {name: types.count(name) for name in sorted(set(types))}
        assert [row["tags"].count("B-PER") > 0 for row in given if "Ada" in row["tokens"]]
    else:
        best = [max(row["probabilities"]) for row in given]
        assert [row["confidence"] for row in given] == best
        assert record["classes"] == {
            name: sum(row["label"] == name for row in given) for name in record["classes"]
        }
    # Copies are labelled alike.
    assert given[-1] | {"row": 1} == given[0]
    told = capsys.readouterr().out
    assert "50 texts: 48 labelled" in told
    assert "2 without a label: the text is empty" in told
    assert f"{record['tokens']['billed']:,} billed tokens" in told


def test_the_chunks_change_no_label_and_the_library_datasets_opens_them(
    asked: Any, heap: Path, tmp_path: Path
) -> None:
    import datasets

    for chunk in (7, 50):
        label(asked(), Source(heap), tmp_path / str(chunk), Sizes(chunk, 20))
    assert len(list((tmp_path / "7" / "data").iterdir())) == 8
    assert rows(tmp_path / "7") == rows(tmp_path / "50")
    found = datasets.load_dataset(
        str(tmp_path / "7"), split="train", cache_dir=str(tmp_path / "of-datasets")
    )
    assert found.to_list() == rows(tmp_path / "7")


@pytest.mark.parametrize("answered", [5, 30])
def test_an_engine_that_dies_leaves_whole_files_and_the_same_command_ends_alike(
    asked: Any, heap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: int
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    label(asked("one"), Source(heap), whole, SIZES)
    with pytest.raises(TeacherError, match="the engine died"):
        label(asked("two", dies_after=answered), Source(heap), broken, SIZES)
    assert not (broken / "data" / "part-00003.parquet").exists()
    log = tmp_path / "asks"
    monkeypatch.setenv(ASKS, str(log))
    label([*asked("two"), "+teacher.dies_after=0"], Source(heap), broken, SIZES)
    assert content(broken) == content(whole)
    # What the dead engine had answered was not asked again.
    asks = json.loads((whole / "label.json").read_text())
    assert 0 < len(log.read_text().splitlines()) < 200
    assert asks["complete"]


def started(overrides: list[str], heap: Path, to: Path) -> subprocess.Popen[str]:
    """The command with SIZES in a process of its own."""
    words = ["label", *overrides, "--texts", str(heap), "--to", str(to)]
    words += ["--chunk", "16", "--calibrate-on", "20"]
    paths = [str(Path(__file__).parents[3] / part) for part in ("src", ".")]
    return subprocess.Popen(
        [sys.executable, "-m", "tutelage.cli", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_several_processes_share_the_chunks_and_end_with_the_same_bytes(
    small_data: Path, tmp_path: Path
) -> None:
    """They start together in an empty folder; one is killed, and the others take its chunk."""
    heap = write_heap(tmp_path / "heap.jsonl", 160)
    whole, shared = tmp_path / "whole", tmp_path / "shared"

    def overrides(name: str, **teacher: object) -> list[str]:
        return scripted(tmp_path / "none", small_data, tmp_path / f"{name}.sqlite", **teacher)

    label(overrides("one"), Source(heap), whole, SIZES)
    waiting = f"teacher._target_={__name__}.{WaitingTeacher.__name__}"
    # A cache of its own for each, as on machines that share no disk but the folder's.
    processes = [
        started([*overrides(name, folder=shared), waiting], heap, shared) for name in "abc"
    ]
    deadline = time.monotonic() + 240
    while len(list(shared.glob("data/.part-*.lock"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes[0].send_signal(signal.SIGKILL)
    # Its lock is free when it has ended; the others pass over a chunk that somebody has.
    processes[0].wait()
    (tmp_path / "go").touch()
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 0, 0]
    # Each labelled a part, and the last one to end completed the folder.
    assert all("part-000" in one for one in said[1:]), said
    assert len(list(shared.rglob("transcript.jsonl"))) >= 2
    # The killed one left the file of its lock.
    found = {name: held for name, held in content(shared).items() if ".process-" not in name}
    assert found == content(whole)


def test_killed_at_any_moment_it_ends_with_the_same_bytes(small_data: Path, tmp_path: Path) -> None:
    heap = write_heap(tmp_path / "heap.jsonl", 120)
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def overrides(name: str, **teacher: object) -> list[str]:
        return scripted(tmp_path / "none", small_data, tmp_path / f"{name}.sqlite", **teacher)

    label(overrides("one"), Source(heap), whole, SIZES)
    files = killed / "data"
    for least in (0, 2):
        process = started(overrides("two", delay=0.02), heap, killed)
        deadline = time.monotonic() + 120
        while len(list(files.glob("part-*.parquet"))) <= least and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert 3 <= len(list(files.glob("part-*.parquet"))) < 8
    label(overrides("two", delay=0.0), Source(heap), killed, SIZES)
    assert content(killed) == content(whole)


def test_a_damaged_file_is_written_again(classes: list[str], heap: Path, tmp_path: Path) -> None:
    to = tmp_path / "to"
    label(classes, Source(heap), to, SIZES)
    before = content(to)
    part = to / "data" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:100])
    (to / "data" / "part-00002.parquet").unlink()
    label(classes, Source(heap), to, SIZES)
    assert content(to) == before


def test_another_source_or_configuration_is_refused(
    classes: list[str], heap: Path, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    label(classes, Source(heap), to, SIZES)
    other = write_heap(tmp_path / "other.jsonl", 60)
    before = content(to)
    for overrides, source, sizes, what in (
        (classes, Source(other), SIZES, r"other texts \(--texts\)"),
        ([*classes, "calibration=none"], Source(heap), SIZES, "another configuration"),
        ([*classes, "shots=2"], Source(heap), SIZES, "or other shots"),
        (classes, Source(heap, text_column="tokens"), SIZES, "another configuration"),
        (classes, Source(heap), Sizes(17, 20), "--chunk 16"),
        (classes, Source(heap), Sizes(16, 21), "--calibrate-on 20"),
    ):
        with pytest.raises(ConfigError, match=f"{what}.*Give the command that began it"):
            label(overrides, source, to, sizes)
    assert content(to) == before
    # What changes no label may change.
    label([*classes, "budget.tokens=100000000", "threads=2"], Source(heap), to, SIZES)
    assert content(to) == before


def test_a_folder_that_another_process_just_begins_is_no_other_one(
    classes: list[str], heap: Path, tmp_path: Path
) -> None:
    whole, begun, run = (tmp_path / name for name in ("whole", "begun", "run"))
    label(classes, Source(heap), whole, SIZES)
    for folder in (begun, run):
        (folder / "process-2").mkdir(parents=True)
        (folder / "teacher").mkdir()
    with pytest.raises(ConfigError, match="holds no labelled texts"):
        label(classes, Source(heap), begun, SIZES)
    for folder in (begun, run):
        (folder / ".lock").touch()
    label(classes, Source(heap), begun, SIZES)
    assert content(begun) == content(whole)
    (run / "config.yaml").touch()
    with pytest.raises(ConfigError, match="holds no labelled texts"):
        label(classes, Source(heap), run, SIZES)


def test_a_folder_of_something_else_is_refused(
    classes: list[str], heap: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no labelled texts, so nothing is written"):
        label(classes, Source(heap), tmp_path / "mine", SIZES)
    with pytest.raises(ConfigError, match=r"heap.jsonl is a file. Give a folder"):
        label(classes, Source(heap), heap, SIZES)
    for sizes in (Sizes(chunk=0), Sizes(calibrate_on=0)):
        with pytest.raises(ConfigError, match="must be 1 or more texts"):
            label(classes, Source(heap), tmp_path / "to", sizes)
    with pytest.raises(DataError, match=r"no.jsonl does not exist"):
        label(classes, Source(tmp_path / "no.jsonl"), tmp_path / "to", SIZES)


def test_the_budget_ends_between_two_chunks_and_a_larger_one_goes_on(
    classes: list[str], heap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, to = tmp_path / "whole", tmp_path / "to"
    label(classes, Source(heap), whole, SIZES)
    tokens = json.loads((whole / "label.json").read_text())["tokens"]["billed"]
    with pytest.raises(ConfigError, match=r"spent before the first label.*fewer texts"):
        label([*classes, "budget.tokens=50"], Source(heap), to, SIZES)
    half = [*classes, f"budget.tokens={tokens // 2}"]
    for _ in range(2):
        with pytest.raises(BudgetExhausted, match="16 texts are labelled and written; raise"):
            label(half, Source(heap), to, SIZES)
    record = json.loads((to / "label.json").read_text())
    assert (record["texts"], record["complete"]) == (16, False)
    assert "Not finished" in (to / "README.md").read_text()
    assert record["tokens"]["billed"] <= tokens // 2
    # Tokens of earlier sessions count, so the same limit is enough for the whole heap.
    label([*classes, f"budget.tokens={tokens}"], Source(heap), to, SIZES)
    assert content(to) == content(whole)


def test_replies_that_fail_are_rows_with_a_reason(classes: list[str], tmp_path: Path) -> None:
    overrides = [*classes, f"teacher._target_={__name__}.RefusingTeacher"]
    heap = write_jsonl(
        tmp_path / "heap.jsonl",
        [{"text": "add a track", "id": 1}, {"text": "refuse this"}, {"text": "add a track"}],
    )
    label(overrides, Source(heap), tmp_path / "to", Sizes(2, 1))
    found = rows(tmp_path / "to")
    assert [row["reason"] for row in found] == ["", "labelling failed: the server is busy", ""]
    assert found[1]["label"] is found[1]["confidence"] is found[1]["probabilities"] is None
    # A chunk with a single text that fails is a row, too.
    label(overrides, Source(heap), tmp_path / "single", Sizes(1, 1))
    assert [bool(row["reason"]) for row in rows(tmp_path / "single")] == [False, True, False]
    # Many of them are a fault of the engine, and nothing is written.
    many = [{"text": "add a track"}, *({"text": f"refuse {n}"} for n in range(9))]
    heap = write_jsonl(tmp_path / "many.jsonl", [many[0], *many[0:1] * 8, *many[1:]])
    with pytest.raises(TeacherError, match="None of 9 scoring requests was answered"):
        label(overrides, Source(heap), tmp_path / "many", Sizes(9, 1))
    assert [row["reason"] for row in rows(tmp_path / "many")] == [""] * 9


def test_long_texts_are_shortened_and_say_so(classes: list[str], tmp_path: Path) -> None:
    heap = write_jsonl(
        tmp_path / "heap.jsonl", [{"text": "add a track " * 40}, {"text": "add a track"}]
    )
    label([*classes, "prompt.text_tokens=20"], Source(heap), tmp_path / "to", SIZES)
    found = rows(tmp_path / "to")
    assert [row["reason"] for row in found] == ["shortened in the prompt", ""]
    assert all(row["label"] for row in found)
    assert json.loads((tmp_path / "to" / "label.json").read_text())["shortened"] == 1


def test_a_folder_of_files_is_read_in_the_order_of_their_names(
    classes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heap = tmp_path / "heap"
    (heap / "deep").mkdir(parents=True)
    (heap / "b.txt").write_text("add a track\nrain tomorrow\n")
    (heap / "a.csv").write_text("text,other\nbook a table,1\n")
    (heap / "deep" / "c.jsonl").write_text('{"text": "rate this novel"}\n')
    (heap / "d.jsonl").write_text("")
    (heap / "e.pdf").write_text("no texts")
    label(classes, Source(heap), tmp_path / "to", SIZES)
    found = rows(tmp_path / "to")
    assert [(row["row"], row["file"]) for row in found] == [
        (1, "a.csv"),
        (2, "b.txt"),
        (3, "b.txt"),
        (4, "deep/c.jsonl"),
    ]
    assert "1 files of" in capsys.readouterr().out
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "e.pdf").write_text("no texts")
    with pytest.raises(DataError, match=r"has no file of texts \(e.pdf\)"):
        label(classes, Source(tmp_path / "none"), tmp_path / "x", SIZES)


def test_the_command_line_takes_overrides_and_options(
    classes: list[str], heap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["label", *classes, "--texts", str(heap), "--to", str(tmp_path / "to")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--chunk", "30", "--calibrate-on", "20"])
    assert not ended.value.code
    assert "part-00001.parquet: 20 of 20 labelled" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main([*words, "--text-column", "body"])
    assert ended.value.code == ConfigError.exit_code
    assert "tutelage: --to" in capsys.readouterr().err


def test_memory_does_not_grow_with_the_chunks(
    classes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heap = write_heap(tmp_path / "heap.jsonl", 20_000)
    sizes: list[int] = []
    write = command.write_shard

    def writing(*given: Any, **more: Any) -> None:
        write(*given, **more)
        sizes.append(psutil.Process().memory_info().rss)

    monkeypatch.setattr(command, "write_shard", writing)
    overrides = [*classes, "teacher.cache=null", "prompt.text_tokens=16"]
    label(overrides, Source(heap), tmp_path / "to", Sizes(1_000, 500))
    assert len(sizes) == 20
    # One chunk more in memory would be 5 MB or so.
    assert max(sizes[5:]) - max(sizes[:5]) < 20 * 2**20


def test_a_run_reads_the_files_as_its_training_data(
    asked: Any, small_data: Path, ner_data: Path, heap: Path, tmp_path: Path
) -> None:
    import shutil

    import pyarrow as pa

    overrides = asked()
    label(overrides, Source(heap), tmp_path / "to", SIZES)
    is_ner = "task=ner" in overrides
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("validation.jsonl", "test.jsonl"):
        shutil.copy((ner_data if is_ner else small_data) / name, mine)
    parts = sorted((tmp_path / "to" / "data").iterdir())
    pq.write_table(pa.concat_tables(map(pq.read_table, parts)), mine / "train.parquet")
    dataset = build_dataset(compose_config([*overrides, f"data.path={mine}"]))
    wanted = {
        " ".join(row["tokens"]) if is_ner else row["text"]: row
        for row in rows(tmp_path / "to")
        if not row["reason"]
    }
    read = {one.text: one.label for one in dataset.supervised()}
    assert len(read) > 30
    for text, target in read.items():
        row = wanted[text]
        if is_ner:
            spans = [[one["start"], one["end"], one["type"]] for one in row["entities"]]
            assert json.loads(target or "") == spans
        else:
            assert target == row["label"]
