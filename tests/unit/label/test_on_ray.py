"""`tutelage label --engine ray` on a real cluster of this machine, and what a replica checks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.helpers.tiny import scripted
from tests.unit.label.test_command import content, write_heap

from tutelage.cli import main
from tutelage.config.compose import compose_config
from tutelage.data.unlabelled import Source
from tutelage.errors import BudgetExhausted, ConfigError, TeacherError
from tutelage.label import on_ray, ray_replica
from tutelage.label.command import Job, Part, Sizes, label
from tutelage.label.on_ray import Replicas, label_on_ray
from tutelage.label.ray_replica import Failed, Place
from tutelage.version import __version__

SIZES = Sizes(chunk=16, calibrate_on=20)
HERE = Place("", "/", "", __version__, is_here=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster with two CPUs."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # Workers are as important as tests, import them, and send nothing.
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", python_path())
        found = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 2,
                "include_dashboard": False,
                "object_store_memory": 80 * 2**20,
            },
        )
        yield found.address
        found.shutdown()


@pytest.fixture
def on_cluster(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster)


@pytest.fixture
def job(small_data: Path, tmp_path: Path) -> Job:
    heap = write_heap(tmp_path / "heap.jsonl", 160)
    overrides = scripted(tmp_path / "none", small_data, tmp_path / "replies.sqlite")
    return Job(tuple(overrides), Source(heap), tmp_path / "to", SIZES)


def python_path() -> str:
    root = Path(__file__).parents[3]
    return os.pathsep.join([str(root / "src"), str(root)])


def words(job: Job, *more: str) -> list[str]:
    heap = ["--texts", str(job.source.file), "--to", str(job.to)]
    sizes = ["--chunk", str(job.sizes.chunk), "--calibrate-on", str(job.sizes.calibrate_on)]
    return ["label", *job.overrides, *heap, *sizes, "--engine", "ray", *more]


def ended(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    return int(ending.value.code or 0)


def kill_one(folder: Path) -> None:
    """Kills a replica in the midst of its chunk, after the first one is written."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if list(folder.glob("data/part-*.parquet")):
            for process in psutil.Process().children(recursive=True):
                if "ray::replica" in process.name() and has_chunk(process):
                    process.send_signal(signal.SIGKILL)
                    return
        time.sleep(0.01)


def has_chunk(process: psutil.Process) -> bool:
    try:
        return any(Path(file.path).match(".part-*.lock") for file in process.open_files())
    except psutil.Error:
        return False


@pytest.mark.usefixtures("on_cluster")
def test_replicas_end_as_one_process_though_one_is_killed_and_one_finds_no_room(
    job: Job, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole"
    own = scripted(tmp_path / "none", small_data, tmp_path / "one.sqlite")
    label(own, job.source, whole, SIZES)
    slow = replace(job, overrides=(*job.overrides, "+teacher.delay=0.05"))
    killer = threading.Thread(target=kill_one, args=(job.to,))
    killer.start()
    capsys.readouterr()
    assert ended(words(slow, "--replicas", "3", "--cpus-per-replica", "1")) == 0
    killer.join()
    said = capsys.readouterr().out
    assert "was lost, and it is started again" in said
    assert said.count("begins on") >= 2
    assert "160 texts: 158 labelled" in said
    assert {f"part-0000{n}.parquet: " in said for n in range(10)} == {True}
    # A replica writes its own log, transcript and process-2/; a killed one leaves its locks.
    found = {name: held for name, held in content(job.to).items() if ".process-" not in name}
    assert found == content(whole)
    records = [json.loads((to / "label.json").read_text()) for to in (job.to, whole)]
    assert records[0]["content"] == records[1]["content"]
    logs = [path.read_text(encoding="utf-8") for path in job.to.rglob("label.log")]
    assert sum(log.count("part-000") for log in logs) >= 9
    assert not list(job.to.glob(".ray-*"))


@pytest.mark.usefixtures("on_cluster")
def test_errors_of_replicas_have_their_own_exit_codes(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    short = replace(job, overrides=(*job.overrides, "budget.tokens=5000"))
    assert ended(words(short)) == BudgetExhausted.exit_code
    said = capsys.readouterr().err
    assert "budget.tokens=5000 ends here" in said
    assert "labelled and written; raise budget.tokens" in said
    other = replace(job, sizes=Sizes(17, 20))
    assert ended(words(other)) == ConfigError.exit_code
    assert "has labels of --chunk 16" in capsys.readouterr().err
    assert not list(job.to.glob(".ray-*"))


def test_ctrl_c_ends_replicas_and_the_cluster_of_this_machine(job: Job, tmp_path: Path) -> None:
    slow = replace(job, overrides=(*job.overrides, "+teacher.delay=0.2"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tutelage.cli", *words(slow)],
        env={
            **{key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
            "RAY_worker_niceness": "0",
            "PYTHONPATH": python_path(),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while not list(job.to.glob("data/part-*.parquet")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family[0].environ()["RAY_AUTH_MODE"] == "token"
    # A terminal sends it to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, (out, said)
    assert "tutelage: stopped." in said
    # The replica wrote what it has, and no process is left.
    record = json.loads((job.to / "label.json").read_text())
    assert 16 <= record["texts"] < 160
    assert not psutil.wait_procs(family, timeout=30)[1]
    assert not [path for path in job.to.rglob(".*") if path.name != ".lock"]


def test_what_cannot_be_is_refused_before_anything_starts(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, says in (
        (Replicas(0), "--replicas 0 must be 1 or more"),
        (Replicas(cpus=0), "--cpus-per-replica 0 must be more than 0"),
        (Replicas(gpus=1.5), "--gpus-per-replica 1.5 must be a whole number"),
        (Replicas(gpus=-1), "--gpus-per-replica -1 must be"),
    ):
        with pytest.raises(ConfigError, match=says):
            label_on_ray(job, wrong)
    with pytest.raises(ConfigError, match="no_such"):
        label_on_ray(replace(job, overrides=("no_such=1",)), Replicas())
    with pytest.raises(ConfigError, match="must be 1 or more texts"):
        label_on_ray(replace(job, sizes=Sizes(chunk=0)), Replicas())
    with pytest.raises(ConfigError, match=r"is a file. Give a folder"):
        label_on_ray(replace(job, to=job.source.file), Replicas())
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ConfigError, match=r"is Ray's client.*RAY_ADDRESS=auto"):
        label_on_ray(job, Replicas())
    process = [one for one in words(job, "--replicas", "2") if one not in ("--engine", "ray")]
    assert ended(process) == ConfigError.exit_code
    assert "--replicas is for --engine ray" in capsys.readouterr().err
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'tutelage\[ray\]'"):
        label_on_ray(job, Replicas())
    assert not job.to.exists()


def test_a_replica_looks_for_the_folder_and_the_version(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_replica, "_SHARED_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"does not see the folder .*that all nodes share"):
        ray_replica.placed(job, replace(HERE, token=".ray-1"))
    job.to.mkdir()
    (job.to / ".ray-1").touch()
    assert ray_replica.placed(job, replace(HERE, token=".ray-1", cwd=str(job.to))) == job
    assert Path.cwd() == job.to
    with pytest.raises(ConfigError, match=rf"has tutelage {__version__}, and the command 0.0.1"):
        ray_replica.placed(job, replace(HERE, token=".ray-1", version="0.0.1"))
    said = list(ray_replica.replica_of(job, replace(HERE, token=".ray-2")))
    assert isinstance(said[1], Failed)
    assert said[1].kind is ConfigError


def test_the_automatic_cache_of_a_node_is_on_its_own_disk(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.to.mkdir()
    (job.to / ".ray-1").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUTELAGE_CACHE", raising=False)
    monkeypatch.setenv("TUTELAGE_CONF", "")
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(ray_replica.tempfile, "gettempdir", lambda: str(tmp_path / "disk"))
    place = replace(HERE, token=".ray-1", is_here=False)
    # A file that the user names is that file, on every node.
    assert ray_replica.placed(job, place) == job
    automatic = replace(job, overrides=(*job.overrides, "teacher.cache=auto"))
    cache = compose_config(ray_replica.placed(automatic, place).overrides).cache
    folder = tmp_path / "disk" / f"tutelage-cache-{os.getuid()}"
    assert cache == str(folder / "replies.sqlite")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is not yours"):
        ray_replica.placed(automatic, place)
    # On this machine alone, and where nodes have a cache folder by their environment, it stays.
    assert ray_replica.placed(automatic, replace(place, is_here=True)) == automatic
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "own"))
    assert ray_replica.placed(automatic, replace(place, conf=str(tmp_path))) == automatic
    assert os.environ["TUTELAGE_CONF"] == str(tmp_path)


def test_a_replica_has_the_gpus_and_the_threads_of_its_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vllm = compose_config(["teacher=vllm"])
    many = compose_config(["teacher=vllm", "+teacher.engine.tensor_parallel_size=2"])
    server = compose_config(
        ["teacher=server", "teacher.url=http://localhost:1/v1", "teacher.model=m"]
    )
    monkeypatch.setattr(on_ray, "cpu_cores", lambda: 8)

    def gpus(config: object, **given: float) -> float:
        return on_ray._resources(config, Replicas(**given), is_here=False)["num_gpus"]

    monkeypatch.setattr(on_ray, "vllm_build", lambda: ("gpu", "0.33"))
    assert [gpus(one) for one in (vllm, many, server)] == [1, 2, 0]
    assert gpus(vllm, gpus=0.5) == 0.5
    monkeypatch.setattr(on_ray, "vllm_build", lambda: ("cpu", "0.32"))
    assert gpus(vllm) == 0
    # Without a cluster replicas share this machine.
    shares = [on_ray._resources(vllm, Replicas(n), is_here=True)["num_cpus"] for n in (1, 3, 20)]
    assert shares == [8, 2, 1]
    assert on_ray._threads(vllm, 3.5) == ["teacher.threads=3"]
    assert on_ray._threads(compose_config(["teacher.threads=2"]), 3.5) == []
    assert on_ray._threads(server, 0.5) == []


@pytest.fixture
def driver(job: Job, monkeypatch: pytest.MonkeyPatch) -> on_ray._Driver:
    from rich.console import Console

    driver = on_ray._Driver(job, HERE, {"num_cpus": 1.0}, 2, Console())
    monkeypatch.setattr(
        driver, "_start", lambda replica: driver._pending.update({replica.number: replica})
    )
    return driver


def test_replicas_that_die_without_a_new_file_are_given_up(
    driver: on_ray._Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = RuntimeError("The worker died.\nSee its log.")
    for new_file in (False, True, False, False):
        if new_file:
            driver._seen.add(Path(f"part-{len(driver._seen)}"))
        driver._lose(on_ray._Replica(1, "node-7"), dead)
    said = capsys.readouterr().out
    assert (
        said.count("replica 1 on node-7 was lost, and it is started again: The worker died.") == 3
    )
    assert said.count("is not started again") == 1
    driver._pending.clear()
    driver._count = 0
    with pytest.raises(TeacherError, match=r"3 replicas were lost.*The worker died.*to go on"):
        driver.run()


def test_an_engine_that_fails_leaves_the_others_at_work(
    driver: on_ray._Driver, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    driver._count = 0
    failed = on_ray._Replica(1, "node-7")
    driver._take(failed, Failed(TeacherError, "the engine died"))
    assert "replica 1 on node-7 failed: the engine died" in capsys.readouterr().out
    with pytest.raises(TeacherError, match="the engine died"):
        driver.run()
    # Others did the whole heap without it.
    driver._take(on_ray._Replica(2, "node-8"), Part(job.to / "process-2", 3, 48))
    job.to.mkdir()
    (job.to / "label.json").write_text('{"complete": true}')
    driver.run()
    with pytest.raises(ConfigError, match="wrong"):
        driver._take(failed, Failed(ConfigError, "wrong"))
