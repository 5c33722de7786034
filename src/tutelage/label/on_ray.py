"""`tutelage label --engine ray`: replicas on a Ray cluster label into one folder.

Each replica is a Ray task that does what the command does without Ray: it takes the chunks that no
other process has (:mod:`tutelage.label.command`). So nothing but the folder is shared, a replica
that comes late finds the chunks that are left, and one that is lost leaves its chunk to another.
Replicas that wait for their resources are what Ray's autoscaler adds nodes for.

``ray.data.llm`` is not used: it brings a vLLM of its own version and builds its own prompts, while
the labels of a heap are scores under prompts of this package.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.config.build_teacher import shares_engine
from tutelage.config.folder import OWN_CONF
from tutelage.config.schema import RunConfig
from tutelage.errors import ConfigError, TeacherError, TutelageError
from tutelage.interruption import stoppable
from tutelage.label.command import Job, Part
from tutelage.label.display import Display, tell, tell_labelled, warn
from tutelage.label.folder import is_complete, made_folder
from tutelage.label.ray_replica import LOG, Began, Failed, Place, replica_of
from tutelage.label.shards import read_tally, written_shards
from tutelage.teacher.engines.hardware import cpu_cores, vllm_build
from tutelage.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

_ADDRESS = "RAY_ADDRESS"
"""Environment variable: the cluster, for Ray itself."""
_LOOK_SECONDS = 1.0
"""Between two looks at the folder."""
_WAIT_SECONDS = 15.0
"""After this time the user is told that replicas wait for resources."""
_STOP_SECONDS = 20.0
"""Time for replicas to end after Ctrl-C."""
_LOSSES = 3
"""Replicas lost in a row, without a new file in between, after which none is started again."""
_STORE_BYTES = 80 * 2**20
"""Object store of a cluster on this machine, near Ray's minimum: no texts pass through it."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """Number and resources of the replicas.

    Attributes:
        count: Number of replicas.
        cpus: CPUs of each; None for 1, or an equal share of this machine without a cluster.
        gpus: GPUs of each; None for those that the teacher's engine takes.
    """

    count: int = 1
    cpus: float | None = None
    gpus: float | None = None


def label_on_ray(job: Job, replicas: Replicas) -> int:
    """Labels every text of a heap by replicas on a Ray cluster.

    The cluster is that of ``RAY_ADDRESS``, the one that this process is connected to, or else one
    that is started on this machine and ends with the command.

    Args:
        job: What is labelled, and how.
        replicas: Number and resources of the replicas.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: Ray is not installed or not reached, a replica can never have its resources,
            does not see the folder, or finds a setting wrong.
        TeacherError: Replicas failed or were lost, and the heap is not done.
        TutelageError: What the first replica failed with; see :func:`tutelage.label.command.label`.
    """
    from tutelage.terminal import new_console

    _check(replicas)
    if find_spec("ray") is None:
        raise ConfigError(
            "--engine ray needs ray, which is not installed. Install the extra: "
            "pip install 'tutelage[ray]'."
        )
    console = new_console()
    job = replace(
        job,
        source=replace(job.source, file=job.source.file.expanduser().absolute()),
        to=job.to.expanduser().absolute(),
    )
    config = job.check()
    with _connected() as is_here, _token(job.to) as token:
        resources = _resources(config, replicas, is_here=is_here)
        if is_here:
            _check_room(resources)
        place = Place(token, str(Path.cwd()), os.environ.get(OWN_CONF, ""), __version__, is_here)
        job = replace(job, overrides=(*job.overrides, *_threads(config, resources["num_cpus"])))
        with stoppable():
            _Driver(job, place, resources, replicas.count, console).run()
    tell_labelled(console, job.to)
    return 0


def _check(replicas: Replicas) -> None:
    if replicas.count < 1:
        raise ConfigError(f"--replicas {replicas.count} must be 1 or more.")
    if replicas.cpus is not None and replicas.cpus <= 0:
        raise ConfigError(f"--cpus-per-replica {replicas.cpus:g} must be more than 0.")
    if replicas.gpus is not None and (
        replicas.gpus < 0 or (replicas.gpus > 1 and not replicas.gpus.is_integer())
    ):
        raise ConfigError(
            f"--gpus-per-replica {replicas.gpus:g} must be a whole number of GPUs, a part of one "
            "(0.5), or 0."
        )


@contextmanager
def _connected() -> Iterator[bool]:
    """Connects to a cluster, and yields whether it is this machine alone."""
    address = os.environ.get(_ADDRESS, "")
    is_here = address in ("", "local")
    if address.startswith("ray://"):
        raise ConfigError(
            f"{_ADDRESS}={address} is Ray's client, which sees neither the folder nor the heap. "
            f"Give the command on a node of the cluster with {_ADDRESS}=auto, or by "
            "`ray job submit`."
        )
    if is_here and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        # The ports of a cluster are open to the network. Ray reads this when it is imported.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    # Nothing is sent from here: neither statistics nor a check for them.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    if ray.is_initialized():
        yield False
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if is_here:
            ray.init(
                address="local",
                num_cpus=cpu_cores(),
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        what = f"{_ADDRESS}={address}" if address else "A Ray cluster on this machine"
        raise ConfigError(
            f"{what} cannot be used ({_first_line(error)}). Check that `ray status` finds "
            f"the cluster, or unset {_ADDRESS} to start one on this machine."
        ) from error
    try:
        yield is_here
    finally:
        ray.shutdown()


@contextmanager
def _token(folder: Path) -> Iterator[str]:
    """Writes a file by which a replica knows that it sees the same folder."""
    path = made_folder(folder) / f".ray-{uuid.uuid4().hex}"
    path.touch()
    try:
        yield path.name
    finally:
        path.unlink(missing_ok=True)


def _resources(config: RunConfig, replicas: Replicas, *, is_here: bool) -> dict[str, float]:
    cpus = replicas.cpus
    if cpus is None:
        cpus = float(max(1, cpu_cores() // replicas.count)) if is_here else 1.0
    gpus = replicas.gpus
    if gpus is None:
        build = vllm_build()
        on_gpu = shares_engine(config) and build is not None and build[0] == "gpu"
        parallel = (config.teacher.get("engine") or {}).get("tensor_parallel_size") or 1
        gpus = float(parallel) if on_gpu else 0.0
    return {"num_cpus": cpus, "num_gpus": gpus}


def _check_room(resources: dict[str, float]) -> None:
    """Refuses replicas that this machine can never hold; no autoscaler adds another."""
    import ray

    there = ray.cluster_resources()
    for kind, option in (("CPU", "--cpus-per-replica"), ("GPU", "--gpus-per-replica")):
        wanted, has = resources[f"num_{kind.lower()}s"], there.get(kind, 0.0)
        if wanted > has:
            raise ConfigError(
                f"A replica takes {wanted:g} {kind}s ({option}), and this machine has {has:g}. "
                f"Give a smaller {option}, or name a cluster with {_ADDRESS}."
            )


def _threads(config: RunConfig, cpus: float) -> list[str]:
    """Overrides that keep the engines of a replica to its CPUs, where the user says nothing."""
    teachers = {"teacher": config.teacher} | {
        f"labelling.teachers.{name}": one for name, one in config.other_teachers.items()
    }
    threads = max(1, int(cpus))
    return [
        f"{setting}.threads={threads}"
        for setting, one in teachers.items()
        if one.settings.get("threads") == 0
    ]


@dataclass(slots=True)
class _Replica:
    number: int
    node: str = ""


@dataclass
class _Ending:
    """How the replicas ended."""

    well: int = 0
    failed: list[TutelageError] = field(default_factory=list)
    lost: str = ""


class _Driver:
    """Starts the replicas, and follows them until the heap is done."""

    def __init__(
        self, job: Job, place: Place, resources: dict[str, float], count: int, console: Console
    ) -> None:
        import ray

        self._job, self._place, self._count, self._console = job, place, count, console
        # A lost replica is started again here, where it is known whether the heap went on.
        options: dict[str, Any] = {**resources, "max_retries": 0, "max_calls": 1}
        self._task = ray.remote(**options)(replica_of)
        self._resources = resources
        self._pending: dict[Any, _Replica] = {}
        self._seen: set[Path] = set()
        self._losses, self._seen_at_loss = 0, 0
        self._end = _Ending()
        self._told_waiting = False

    def run(self) -> None:
        """Returns when the heap is done, or other processes have the rest of it.

        Raises:
            TutelageError: See :func:`label_on_ray`.
        """
        began = time.monotonic()
        try:
            with Display(self._console) as display:
                self._look(display, kept=True)
                for number in range(1, self._count + 1):
                    self._start(_Replica(number))
                while self._pending:
                    self._follow()
                    self._look(display)
                    display.show(self._at_work())
                    if self._end.well and is_complete(self._job.to):
                        self._leave_waiting()
                    if time.monotonic() - began > _WAIT_SECONDS:
                        self._tell_waiting()
                self._look(display)
        except BaseException:
            self._stop()
            raise
        if is_complete(self._job.to):
            return
        if self._end.failed:
            raise self._end.failed[0]
        if self._end.lost:
            raise TeacherError(
                f"{self._losses} replicas were lost one after the other without a new file "
                f"({self._end.lost}). What is labelled is written: see Ray's logs for why they "
                "died, often for want of memory, and give the same command to go on."
            )

    def _start(self, replica: _Replica) -> None:
        self._pending[self._task.remote(self._job, self._place)] = replica

    def _follow(self) -> None:
        """Takes the next thing that a replica says, if one comes soon."""
        import ray

        ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=_LOOK_SECONDS)
        for stream in ready:
            replica = self._pending[stream]
            try:
                said = ray.get(next(stream))
            except StopIteration:
                del self._pending[stream]
            except ray.exceptions.RayError as error:
                del self._pending[stream]
                # A task that somebody else cancelled is of both kinds.
                is_cancelled = isinstance(error, ray.exceptions.TaskCancelledError)
                if isinstance(error, ray.exceptions.RayTaskError) and not is_cancelled:
                    raise error.as_instanceof_cause() from None
                self._lose(replica, error)
            else:
                self._take(replica, said)

    def _take(self, replica: _Replica, said: Began | Part | Failed) -> None:
        name = f"replica {replica.number}"
        if isinstance(said, Began):
            replica.node = said.node
            tell(self._console, f"{name} begins on {said.node}")
        elif isinstance(said, Part):
            self._end.well += 1
            log = said.own / "teacher" / LOG
            tell(
                self._console,
                f"{name} ends after {said.files:,} files, {said.texts:,} texts: {log}",
            )
        else:
            error = said.kind(said.message)
            # The others can do without this engine, and their chunks in flight are worth keeping.
            if not isinstance(error, TeacherError):
                raise error
            self._end.failed.append(error)
            warn(self._console, f"{name} on {replica.node} failed: {error}")

    def _lose(self, replica: _Replica, error: Exception) -> None:
        """Starts a lost replica again, as long as the heap goes on."""
        why = _first_line(error)
        where = f" on {replica.node}" if replica.node else ""
        self._losses = self._losses + 1 if len(self._seen) == self._seen_at_loss else 1
        self._seen_at_loss = len(self._seen)
        again = self._losses < _LOSSES
        what = "it is started again" if again else "it is not started again"
        warn(self._console, f"replica {replica.number}{where} was lost, and {what}: {why}")
        if again:
            self._start(_Replica(replica.number))
        else:
            self._end.lost = why

    def _look(self, display: Display, *, kept: bool = False) -> None:
        """Tells of the files that are new."""
        for path in written_shards(self._job.to):
            if path in self._seen or (tally := read_tally(path)) is None:
                continue
            self._seen.add(path)
            if kept:
                display.kept(tally)
            else:
                display.begin(path.name, tally.texts)
                display.end(tally)

    def _waiting(self) -> dict[Any, _Replica]:
        return {stream: one for stream, one in self._pending.items() if not one.node}

    def _at_work(self) -> str:
        return f"{len(self._pending) - len(self._waiting())} of {self._count} replicas at work"

    def _tell_waiting(self) -> None:
        import ray

        waiting = len(self._waiting())
        if self._told_waiting or not waiting:
            return
        self._told_waiting = True
        each = _listed({key[4:-1].upper(): value for key, value in self._resources.items()})
        has = _listed(ray.cluster_resources())
        tell(
            self._console,
            f"{waiting} of {self._count} replicas have not begun yet; each takes {each}, and the "
            f"cluster has {has} in all.",
        )

    def _leave_waiting(self) -> None:
        """Takes back the replicas that have not begun: nothing is left for them."""
        import ray

        for stream in self._waiting():
            ray.cancel(stream)
            del self._pending[stream]

    def _stop(self) -> None:
        """Ends all replicas: with Ctrl-C's exception, so that they write their summary."""
        import ray

        # A cluster that is gone ends them, too.
        with suppress(ray.exceptions.RayError):
            for stream in self._pending:
                ray.cancel(stream)
            deadline = time.monotonic() + _STOP_SECONDS
            while self._pending and (left := deadline - time.monotonic()) > 0:
                for stream in ray.wait(list(self._pending), num_returns=1, timeout=left)[0]:
                    try:
                        ray.get(next(stream))
                    except (StopIteration, ray.exceptions.RayError):
                        del self._pending[stream]
            for stream in self._pending:
                ray.cancel(stream, force=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _listed(resources: Mapping[str, float]) -> str:
    named = [f"{resources[kind]:g} {kind}" for kind in ("CPU", "GPU") if resources.get(kind)]
    return " and ".join(named) or "no CPU"
