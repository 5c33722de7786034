"""Stopped or killed runs resume to the undisturbed result; only requests in flight repeat."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.campaign.folders import differences
from tests.helpers import tiny, tiny_ner
from tests.helpers.teachers import ASKS
from tests.helpers.tiny import accuracies, lines
from tests.helpers.warm_runs import ROOT, Runs

DELAY = 0.01
"""Seconds per reply, long enough for a signal to arrive between two."""


@pytest.fixture(scope="module")
def all_runs() -> Iterator[Runs]:
    started = Runs()
    yield started
    started.close()


@pytest.fixture
def runs(all_runs: Runs) -> Iterator[Runs]:
    yield all_runs
    all_runs.clear()


@pytest.fixture(scope="module")
def overrides(student: Path, small_data: Path) -> list[str]:
    """Overrides of every run here; the cache is in the working directory."""
    given = tiny.scripted(student, small_data, Path("replies.sqlite"), delay=DELAY)
    stages = [
        "training.final_epochs=4",
        "training.final_student=new",
        "student.head=fitted",
        "student.pooling=normalized_mean",
        "evaluate.test_every_round=true",
    ]
    return [
        "train",
        *given,
        *tiny.EVOKD,
        *stages,
        "evaluate.teacher=true",
        "evaluate.supervised_epochs=1",
    ]


@pytest.fixture(scope="module")
def undisturbed(
    all_runs: Runs, overrides: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert all_runs.wait(all_runs.start(folder, *overrides)) == 0, (
        folder / "printed.txt"
    ).read_text()
    return folder


@pytest.fixture(scope="module")
def ner_overrides(ner_student: Path, ner_data: Path) -> list[str]:
    """The same for entities."""
    return [
        "train",
        *tiny_ner.scripted_ner(ner_student, ner_data, Path("replies.sqlite"), delay=DELAY),
        *tiny_ner.EVOKD_NER,
    ]


@pytest.fixture(scope="module")
def undisturbed_ner(
    all_runs: Runs, ner_overrides: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed-ner")
    assert all_runs.wait(all_runs.start(folder, *ner_overrides)) == 0, (
        folder / "printed.txt"
    ).read_text()
    return folder


def run_folder(folder: Path) -> Path:
    found = [path.parent for path in folder.glob("outputs/files-evokd/*/status.json")]
    assert len(found) == 1, f"{found}: a resumed run goes on in its own folder"
    return found[0]


def asked(folder: Path) -> list[str]:
    return (folder / "asks").read_text().split() if (folder / "asks").exists() else []


def status(folder: Path) -> dict[str, Any]:
    """status.json of the run in ``folder``; {} before it exists."""
    for path in folder.glob("outputs/files-evokd/*/status.json"):
        return dict(json.loads(path.read_text()))
    return {}


def until(moment: Callable[[], bool], folder: Path) -> None:
    """Waits for a moment of the run in ``folder``."""
    end = time.monotonic() + 60
    while not moment():
        assert status(folder).get("state") not in ("done", "failed"), (
            f"the run was over before the moment came: {status(folder)}"
        )
        assert time.monotonic() < end, f"the moment never came; the run stands at {status(folder)}"
        time.sleep(0.001)


def ends_alike(folder: Path, undisturbed: Path) -> None:
    """Asserts that the run in ``folder`` is done and equals the undisturbed one."""
    mine, other = run_folder(folder), run_folder(undisturbed)
    result, wanted = (json.loads((folder / "result.json").read_text()) for folder in (mine, other))
    assert json.loads((mine / "status.json").read_text())["state"] == "done"
    for key in (
        "pool_hash",
        "before",
        "after",
        "rows",
        "rounds",
        "stopped_by",
        "gold_labels",
        "teacher",
    ):
        assert result[key] == wanted[key], key
    assert result["tokens"]["billed"] == wanted["tokens"]["billed"]
    assert accuracies(mine) == accuracies(other)
    assert [line["accepted"] for line in lines(mine / "metrics.jsonl")] == [
        line["accepted"] for line in lines(other / "metrics.jsonl")
    ]
    for name in (
        "student/model.safetensors",
        "predictions/test-after.jsonl",
        "feedback/round-002.jsonl",
    ):
        assert (mine / name).read_bytes() == (other / name).read_bytes(), name
    assert not (mine / "checkpoints").exists()


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "before the first reply": lambda folder: len(asked(folder)) >= 1,
    "while round 1 is written": lambda folder: len(asked(folder)) >= 9,
    "while the student starts": lambda folder: status(folder).get("phase") == "training",
    "while the student learns round 1": lambda folder: (
        (status(folder).get("phase"), status(folder).get("round")) == ("training", 1)
    ),
    "while the student learns everything": lambda folder: (
        (status(folder).get("phase"), status(folder).get("round")) == ("training", 3)
    ),
    "while the teacher is measured": lambda folder: status(folder).get("phase") == "teacher alone",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_was_killed_goes_on_and_pays_for_nothing_twice(
    runs: Runs, overrides, undisturbed: Path, tmp_path: Path, moment: str
):
    pid = runs.start(tmp_path, *overrides)
    until(lambda: MOMENTS[moment](tmp_path), tmp_path)
    os.kill(pid, signal.SIGKILL)
    assert runs.wait(pid) == -signal.SIGKILL
    assert status(tmp_path)["state"] == "running", "a killed run cannot say so"
    assert runs.wait(runs.start(tmp_path, *overrides, "resume=true")) == 0, (
        tmp_path / "printed.txt"
    ).read_text()
    ends_alike(tmp_path, undisturbed)
    again = len(asked(tmp_path)) - len(asked(undisturbed))
    assert 0 <= again <= 1, (
        f"{again} requests were computed twice; at most the one in flight may be"
    )
    assert set(asked(tmp_path)) == set(asked(undisturbed))


def test_a_run_that_is_killed_again_and_again_still_ends_alike(
    runs: Runs, overrides, undisturbed: Path, tmp_path: Path
):
    deaths = 0
    for count in (5, 25, 34):
        resume = ["resume=true"] if deaths else []
        pid = runs.start(tmp_path, *overrides, *resume)
        until(lambda count=count: len(asked(tmp_path)) >= count, tmp_path)
        os.kill(pid, signal.SIGKILL)
        runs.wait(pid)
        deaths += 1
    assert runs.wait(runs.start(tmp_path, *overrides, "resume=true")) == 0, (
        tmp_path / "printed.txt"
    ).read_text()
    ends_alike(tmp_path, undisturbed)
    assert len(asked(tmp_path)) - len(asked(undisturbed)) <= deaths
    (file,) = tmp_path.rglob("result.json")
    result = json.loads(file.read_text(encoding="utf-8"))
    phases = sum(result["seconds"].values())
    assert result["wall_seconds"] >= round(phases, 2), "phases before a kill are in the total"


@pytest.mark.parametrize("moment", ["while round 1 is written", "while the student learns round 1"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_says_how_to_go_on_and_the_command_works(
    runs: Runs, overrides, undisturbed: Path, tmp_path: Path, moment: str, number: signal.Signals
):
    pid = runs.start(tmp_path, *overrides)
    until(lambda: MOMENTS[moment](tmp_path), tmp_path)
    os.kill(pid, number)
    assert runs.wait(pid) == 130
    printed = (tmp_path / "printed.txt").read_text()
    record = status(tmp_path)
    assert record["state"] == "interrupted"
    assert record["resume_command"] in printed
    assert "Everything that was answered is kept." in printed
    assert "Traceback" not in printed
    assert (run_folder(tmp_path) / "report.html").is_file()
    command = shlex.split(record["resume_command"])
    assert command[0] == "tutelage"
    assert runs.wait(runs.start(tmp_path, *command[1:])) == 0, (
        tmp_path / "printed.txt"
    ).read_text()
    ends_alike(tmp_path, undisturbed)
    # The request in flight finished before the run stopped, so no request is computed twice.
    assert sorted(asked(tmp_path)) == sorted(asked(undisturbed))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_named_entities_go_on_alike_too(
    runs: Runs, ner_overrides, undisturbed_ner: Path, tmp_path: Path, number: signal.Signals
):
    pid = runs.start(tmp_path, *ner_overrides)
    until(lambda: MOMENTS["while the student learns round 1"](tmp_path), tmp_path)
    os.kill(pid, number)
    assert runs.wait(pid) == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert runs.wait(runs.start(tmp_path, *ner_overrides, "resume=true")) == 0, (
        tmp_path / "printed.txt"
    ).read_text()
    ends_alike(tmp_path, undisturbed_ner)
    assert sorted(asked(tmp_path)) == sorted(asked(undisturbed_ner))


def test_pool_texts_that_were_labelled_are_known_after_a_kill(
    runs: Runs, overrides, tmp_path_factory: pytest.TempPathFactory
):
    pool = ["method.feedback=pool", "acquire=entropy", "accept=scored", "method.n_pool=7"]
    whole, killed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("killed")
    assert runs.wait(runs.start(whole, *overrides, *pool)) == 0
    pid = runs.start(killed, *overrides, *pool)
    until(lambda: MOMENTS["while the student learns round 1"](killed), killed)
    os.kill(pid, signal.SIGKILL)
    assert runs.wait(pid) == -signal.SIGKILL
    assert runs.wait(runs.start(killed, *overrides, *pool, "resume=true")) == 0
    ends_alike(killed, whole)
    rows = lines(run_folder(killed) / "pool" / "rows.jsonl")
    used = [row["parents"][0] for row in rows if row["source"] == "pool"]
    assert len(used) == len(set(used)) == 14


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_labels_that_were_asked_ahead_are_known_after_a_stop(
    runs: Runs, overrides, tmp_path_factory: pytest.TempPathFactory, number: signal.Signals
):
    """The undisturbed run asks nothing ahead, so that this compares both with each other, too."""
    pool = ["method.feedback=pool", "acquire=random", "accept=scored", "method.n_pool=7"]
    pool += ["training.start_epochs=40"]
    ahead = [*pool, "training.prefetch=true", "teacher.delay=0.1"]
    whole, stopped = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("stopped")
    assert runs.wait(runs.start(whole, *overrides, *pool)) == 0
    pid = runs.start(stopped, *overrides, *ahead)
    until(lambda: MOMENTS["while the student starts"](stopped), stopped)
    before = len(asked(stopped))
    until(lambda: len(asked(stopped)) >= before + 2, stopped)
    assert status(stopped)["phase"] == "training", "the teacher is asked while the student learns"
    os.kill(pid, number)
    assert runs.wait(pid) == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert runs.wait(runs.start(stopped, *overrides, *ahead, "resume=true")) == 0
    ends_alike(stopped, whole)
    again = len(asked(stopped)) - len(asked(whole))
    assert 0 <= again <= 1, f"{again} requests were computed twice"


@pytest.mark.parametrize(
    "choice",
    [
        ["select=dynamics"],
        # Each network has its own key encoder.
        ["select=dynamics", "student.peers=2", "loss=group_contrast"],
        ["select=confident_learning", "student.freeze_encoder=true"],
        ["select=confirmed"],
        # Pairs are drawn again after the kill.
        ["select=confirmed", "student.contrastive_start=3", "training.round_student=new"],
        ["select=confirmed", "student.encoder=static"],
    ],
)
def test_a_killed_run_goes_on_weighing_its_rows_alike(
    runs: Runs, overrides, tmp_path_factory: pytest.TempPathFactory, choice: list[str]
):
    weighted = [*choice, "training.train_on=all"]
    whole, killed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("killed")
    assert runs.wait(runs.start(whole, *overrides, *weighted)) == 0
    pid = runs.start(killed, *overrides, *weighted)
    until(lambda: MOMENTS["while the student learns round 1"](killed), killed)
    os.kill(pid, signal.SIGKILL)
    assert runs.wait(pid) == -signal.SIGKILL
    assert runs.wait(runs.start(killed, *overrides, *weighted, "resume=true")) == 0
    ends_alike(killed, whole)
    last = [lines(run_folder(folder) / "selection.jsonl")[-1] for folder in (whole, killed)]
    assert last[0] == last[1]
    assert min(last[0]["rows"].values()) < 1, "what is compared are weights, not their start"


def test_a_second_ctrl_c_ends_at_once(runs: Runs, overrides, tmp_path: Path):
    pid = runs.start(tmp_path, *overrides, "teacher.cache=slow.sqlite", "teacher.delay=30")
    until(lambda: len(asked(tmp_path)) >= 1, tmp_path)
    began = time.monotonic()
    os.kill(pid, signal.SIGINT)
    time.sleep(1.5)  # a busy machine may merge two signals sent together
    os.kill(pid, signal.SIGINT)
    assert runs.wait(pid) == 130
    assert time.monotonic() - began < 25
    assert status(tmp_path)["state"] == "interrupted"


def test_a_finished_run_is_not_run_again(runs: Runs, overrides, undisturbed: Path):
    folder = run_folder(undisturbed)
    before, count = (folder / "metrics.jsonl").read_bytes(), len(asked(undisturbed))
    assert runs.wait(runs.start(undisturbed, *overrides, f"resume={folder}")) == 0
    assert (folder / "metrics.jsonl").read_bytes() == before
    assert len(asked(undisturbed)) == count
    assert runs.wait(runs.start(undisturbed, *overrides, "resume=true")) == 2
    assert "found no unfinished run" in (undisturbed / "printed.txt").read_text()


def test_the_installed_command_answers_ctrl_c_too(overrides, tmp_path: Path):
    """A separate process, as started from a shell."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    environment = {
        **os.environ,
        ASKS: str(tmp_path / "asks"),
        "PYTHONPATH": path,
        "TUTELAGE_CACHE": str(tmp_path / "user-cache"),
    }
    command = [str(Path(sys.executable).with_name("tutelage")), *overrides]
    run = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(asked(tmp_path)) >= 3, tmp_path)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert status(tmp_path)["resume_command"] in said
    assert "Traceback" not in said
    assert (run_folder(tmp_path) / "report.html").stat().st_size > 20_000


@pytest.fixture(scope="module")
def quick(student: Path, small_data: Path) -> list[str]:
    """Overrides of a run of a second: its file operations are those of every run's ends."""
    given = tiny.scripted(student, small_data, Path("replies.sqlite"))
    return ["train", *given, "method=shots", "training.start_epochs=1", "evaluate.supervised=false"]


@pytest.fixture(scope="module")
def quick_undisturbed(
    all_runs: Runs, quick: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("quick")
    assert all_runs.wait(all_runs.start(folder, *quick, STOP_AT="0")) == 0
    return folder


@pytest.mark.parametrize("at", [2, 3, 4, 5, 7, 9, 12, 15, -14, -11, -9, -7, -6, -5, -3, -1])
def test_a_run_killed_at_a_file_operation_near_its_ends_goes_on_alike(
    runs: Runs, quick: list[str], quick_undisturbed: Path, tmp_path: Path, at: int
):
    """Counted from the run's folder on: before its manifest, and from its result to its report."""
    (whole,) = quick_undisturbed.glob("outputs/*/*")
    operations = int((quick_undisturbed / "operations").read_text())
    before_the_folder = 3  # outputs/, outputs/<name>/ and the folder itself
    stop = before_the_folder + at if at > 0 else operations + 1 + at
    assert runs.wait(runs.start(tmp_path, *quick, STOP_AT=str(stop))) == -signal.SIGKILL
    (killed,) = tmp_path.glob("outputs/*/*")
    resume = "resume=true" if at % 2 else f"resume={killed}"
    assert runs.wait(runs.start(tmp_path, *quick, resume)) == 0, (
        tmp_path / "printed.txt"
    ).read_text()
    assert [*tmp_path.glob("outputs/*/*")] == [killed]
    assert differences(killed, whole) == []
    # Nothing is left to go on with.
    assert runs.wait(runs.start(tmp_path, *quick, "resume=true")) == 2


def test_two_that_resume_at_once_both_end_with_the_one_result(
    runs: Runs, quick: list[str], quick_undisturbed: Path, tmp_path: Path
):
    assert runs.wait(runs.start(tmp_path, *quick, STOP_AT="20")) == -signal.SIGKILL
    both = [runs.start(tmp_path, *quick, "resume=true") for _ in range(2)]
    assert [runs.wait(one) for one in both] == [0, 0], (tmp_path / "printed.txt").read_text()
    (folder,), (whole,) = (base.glob("outputs/*/*") for base in (tmp_path, quick_undisturbed))
    assert differences(folder, whole) == []


def test_runs_that_start_in_one_second_each_keep_their_result(
    runs: Runs, quick: list[str], tmp_path: Path
):
    started = [runs.start(tmp_path, *quick, f"seed={seed}") for seed in (1, 2, 3)]
    assert [runs.wait(one) for one in started] == [0, 0, 0]
    results = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/*/*/result.json")]
    assert sorted(result["seed"] for result in results) == [1, 2, 3]


def test_a_run_whose_output_cannot_be_written_is_done_all_the_same(
    runs: Runs, quick: list[str], quick_undisturbed: Path, tmp_path: Path
):
    assert runs.wait(runs.start(tmp_path, *quick, PRINTED="/dev/full")) == 0
    (folder,), (whole,) = (base.glob("outputs/*/*") for base in (tmp_path, quick_undisturbed))
    assert differences(folder, whole) == []
