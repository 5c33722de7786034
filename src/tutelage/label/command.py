"""`tutelage label`: labels for a heap of texts by a teacher that sees a few gold shots.

The heap passes through in chunks: a chunk is read, labelled, and written as a file of its own, so
memory does not grow with the number of texts. A text's label does not depend on the others in its
chunk, because the calibration is fitted once, on the first texts
(:mod:`tutelage.label.frozen`).

The same command continues after ``kill -9``: whole files stay, and the replies of the broken chunk
come from the teacher's cache. Given several times at once, on one machine or on many with a common
file system, each process takes the chunks that no other one has. The folder is then the same, byte
for byte, as by one process without a kill, as far as the engines give the same replies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.config.build import build_dataset, build_task
from tutelage.config.build_fit import gold_for
from tutelage.config.build_labeller import build_labeller
from tutelage.config.build_student import build_encoder
from tutelage.config.build_teacher import build_prompts, build_stack
from tutelage.config.compose import compose_config
from tutelage.config.schema import RunConfig
from tutelage.data.dataset import Dataset
from tutelage.data.unlabelled import Source
from tutelage.errors import BudgetExhausted, ConfigError, DataError, TeacherError, listed
from tutelage.label.display import Display, tell, tell_labelled, warn
from tutelage.label.folder import (
    CARD,
    Identity,
    OpenFolder,
    Summary,
    check_folder,
    configuration_digest,
    locked,
    opened_folder,
    write_summary,
)
from tutelage.label.frozen import NAME as CALIBRATION
from tutelage.label.frozen import Fitted, fit_calibration, load_calibration
from tutelage.label.heap import Heap, HeapText, find_heap, read_heap
from tutelage.label.shards import Tally, read_tally, shard_path, write_shard, written_shards
from tutelage.label.stream import ChunkLabeller
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.methods.base import RequestFailure
from tutelage.records import Example
from tutelage.runs.manifest import plain_config
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.protocol import Task
from tutelage.teacher.stack import Stack

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Sizes:
    """How the heap is cut.

    Attributes:
        chunk: Texts per chunk, and so per file.
        calibrate_on: First texts of the heap that the calibration is fitted on.
    """

    chunk: int = 10_000
    calibrate_on: int = 2_000


@dataclass(frozen=True, slots=True)
class Job:
    """A heap, its settings and its folder; other processes can do the same job.

    Attributes:
        overrides: A run's overrides: data (labels and shots), teacher, labelling, budget.tokens.
        source: The heap, a file or a folder, and how to read it.
        to: The folder of the labelled texts; one that was begun is continued.
        sizes: How the heap is cut.
    """

    overrides: tuple[str, ...]
    source: Source
    to: Path
    sizes: Sizes = Sizes()

    def check(self) -> RunConfig:
        """Returns the configuration.

        Raises:
            ConfigError: A setting or a size is wrong, or the folder holds something else.
        """
        for option, value in (
            ("--chunk", self.sizes.chunk),
            ("--calibrate-on", self.sizes.calibrate_on),
        ):
            if value < 1:
                raise ConfigError(f"{option} {value} must be 1 or more texts.")
        config = compose_config(self.overrides)
        check_folder(self.to)
        return config


@dataclass(frozen=True, slots=True)
class Part:
    """The files that one process labelled.

    Attributes:
        own: The folder of what it alone wrote.
        files: Number of files.
        texts: Number of texts in them.
        kept: Number of texts that were labelled before.
        left: Names of the files that are still to come, for want of replies.
    """

    own: Path
    files: int
    texts: int
    kept: int = 0
    left: tuple[str, ...] = ()


def label(
    overrides: Sequence[str],
    source: Source,
    to: Path,
    sizes: Sizes | None = None,
) -> int:
    """Labels every text of a heap in this process.

    Args:
        overrides: See :class:`Job`, as for the other arguments.
        source: The heap.
        to: The folder.
        sizes: How the heap is cut.

    Returns:
        The exit code, 0.

    Raises:
        BudgetExhausted: ``budget.tokens`` is spent. What is labelled is written, and a larger
            budget continues it.
        ConfigError: A setting is wrong, or the folder has other labels.
        DataError: A text cannot be read, or a file cannot be written.
        TeacherError: The engine failed, or answered no text of a chunk.
    """
    from tutelage.terminal import new_console

    console = new_console()
    work(
        Job(tuple(overrides), source, to.expanduser(), sizes or Sizes()),
        lambda _: nullcontext(console),
    )
    return 0


def work(
    job: Job,
    console_of: Callable[[Path], AbstractContextManager[Console]],
    open_stack: Callable[[RunConfig, Path], Stack] = build_stack,
    unanswered: type[TeacherError] | None = None,
) -> Part:
    """Labels what no other process does, until the heap is done.

    Args:
        job: What is labelled, and how.
        console_of: Opens what the process tells, by the folder of what it alone writes.
        open_stack: Builds the teacher.
        unanswered: The error of a teacher that may have more replies the next time. A chunk that
            ends by it is left out, and files with texts without a reply are labelled once more;
            None for a teacher without such an error.

    Returns:
        The files that this process labelled.

    Raises:
        TutelageError: See :func:`label`.
    """
    config = job.check()
    dataset = build_dataset(config)
    task = build_task(config, dataset)
    heap = find_heap(job.source.file, tagger=task.is_token_level)
    with opened_folder(job.to) as folder, console_of(folder.own) as console:
        if heap.passed_over:
            warn(console, f"{len(heap.passed_over):,} files of {job.source.file} hold no texts.")
        stack = open_stack(config, folder.own)
        try:
            stack.begin(partial(warn, console))
            found = _Work(config, dataset, task, stack, heap, job, folder, console)
            return found.do(unanswered)
        finally:
            stack.close()


@dataclass
class _Done:
    """The files written so far with their counts, and whether they cover the whole heap."""

    tally: Tally = field(default_factory=Tally)
    files: list[Path] = field(default_factory=list)
    complete: bool = False


class _Work:
    """One session of labelling into a folder."""

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        task: Task,
        stack: Stack,
        heap: Heap,
        job: Job,
        folder: OpenFolder,
        console: Console,
    ) -> None:
        self._config, self._task, self._stack = config, task, stack
        source, sizes = job.source, job.sizes
        self._heap, self._source, self._sizes = heap, source, sizes
        self._to, self._own = folder.path, folder.own
        self._console, self._warned = console, set[str]()
        # Texts of the heap that were read, whether these are all, and the files that were counted.
        self._read = 0
        self._whole = False
        self._billed: set[Path] = set()
        # Files for which replies are missing, and the error that says so.
        self._left: list[str] = []
        self._unanswered: type[TeacherError] | tuple[()] = ()
        self._dev = dataset.dev
        self._shots = gold_for(config, dataset)
        self._prompts = build_prompts(config, stack.engine, stack.inner)
        self._labeller = build_labeller(
            config,
            self._prompts,
            task,
            stack.teacher,
            ordered_demonstrations(self._shots, config.seed),
            embed=build_encoder(config),
        )
        fingerprints = [one.teacher.fingerprint for one in (stack.first, *stack.others.values())]
        reading = (source.text_column, source.words_column, source.encoding)
        self._teacher = fingerprints[0]
        self._identity = Identity(
            heap.digest,
            configuration_digest(config, dataset, self._shots, fingerprints, reading),
            sizes.chunk,
            sizes.calibrate_on,
        )
        folder.claim(self._identity)

    def do(self, unanswered: type[TeacherError] | None = None) -> Part:
        """Labels all chunks without a file, writes record and card, and returns its part.

        Args:
            unanswered: See :func:`work`.
        """
        self._unanswered = unanswered or ()
        lock = self._to / ".calibration.lock"
        with locked(lock, wait=False) as mine:
            if mine:
                self._calibrate()
        if not mine:
            tell(self._console, "Another process fits the calibration; this one waits for it.")
            with locked(lock, wait=True):
                self._calibrate()
        fitted = load_calibration(self._to / CALIBRATION, self._labeller)
        self._bill(fitted.cost)
        if not (self._to / CARD).exists():
            self._summarise(fitted)
        try:
            with Display(self._console) as display:
                # Once more where a process that had a chunk has ended without it.
                while self._label_all(display):
                    continue
        except BudgetExhausted as error:
            labelled = self._summarise(fitted).tally.texts
            raise BudgetExhausted(
                f"budget.tokens={self._stack.budget.limit} ends here: {error}. "
                f"{labelled:,} texts are labelled and written; raise budget.tokens and "
                "give the same command to go on."
            ) from None
        except BaseException:
            self._summarise(fitted)
            raise
        self._summarise(fitted)
        rest = f"Replies are missing for {listed(self._left)}." if self._left else ""
        tell_labelled(self._console, self._to, rest)
        return Part(self._own, display.files, display.texts, display.kept_texts, tuple(self._left))

    def _label_all(self, display: Display) -> bool:
        """Labels the chunks that have no file and no other process, in order.

        Returns:
            Whether another process had one while this one labelled, and may have ended meanwhile.
        """
        chunks = ChunkLabeller(self._task, self._labeller, self._prompts, self._stack.budget)
        worked = left = False
        self._read = 0
        for number, texts in enumerate(self._chunks()):
            self._read += len(texts)
            path = shard_path(self._to, number)
            if self._kept(path, len(texts), display):
                continue
            path.parent.mkdir(exist_ok=True)
            with locked(path.with_name(f".{path.stem}.lock"), wait=False) as mine:
                # Another process may have finished it just now.
                left = left or not mine
                if not mine or self._kept(path, len(texts), display):
                    continue
                display.begin(path.name, len(texts))
                try:
                    records, tally = chunks.label(texts, display.reply)
                except self._unanswered:
                    self._left.append(path.name)
                    continue
                before = read_tally(path)
                if before and before.texts == tally.texts and before.labelled > tally.labelled:
                    # Replies of an earlier command are gone, and its labels stay.
                    display.kept(before)
                    self._billed.add(path)
                    continue
                write_shard(path, records, tally, is_token_level=self._task.is_token_level)
                display.end(tally)
                self._billed.add(path)
                worked = True
        return worked and left

    def _kept(self, path: Path, texts: int, display: Display) -> bool:
        """Returns whether a chunk is labelled, and counts its tokens the first time."""
        tally = read_tally(path)
        if tally is None or tally.texts != texts:
            return False
        if self._unanswered and RequestFailure.LABELLING.value in tally.reasons:
            return False
        if path not in self._billed:
            self._billed.add(path)
            self._bill(tally)
            display.kept(tally)
        return True

    def _summarise(self, fitted: Fitted) -> Summary:
        """Writes the record and the card of all files so far, from whichever process."""
        with locked(self._to / ".summary.lock", wait=True):
            done = _Done()
            for path in written_shards(self._to):
                if (tally := read_tally(path)) is not None:
                    done.tally = done.tally.plus(tally)
                    done.files.append(path)
            done.complete = self._whole and done.tally.texts == self._read
            summary = self._summary(fitted, done)
            write_summary(self._to, summary)
        return summary

    def _calibrate(self) -> None:
        """Fits the calibration, unless an earlier session did."""
        path = self._to / CALIBRATION
        if path.is_file():
            return
        first = list(islice(self._texts(), self._sizes.calibrate_on))
        if not first:
            raise DataError(f"{self._heap.folder} has no texts. Give another --texts.")
        if len(first) == self._sizes.calibrate_on and not any(one.text.strip() for one in first):
            raise DataError(
                f"The first {len(first):,} texts are all empty, so that no calibration can be "
                "fitted on them. Remove them, or give a larger --calibrate-on."
            )
        with Display(self._console) as display:
            display.begin("calibration", len(first))
            dev: Sequence[Example] = self._dev
            lost = fit_calibration(
                path, self._labeller, first, dev, self._stack.budget, display.reply
            )
        if lost:
            warn(
                self._console,
                f"The calibration is fitted without {lost:,} requests that failed, and stays as it "
                "is. Once they are answered, another --to gives one that is fitted on all.",
            )

    def _bill(self, tally: Tally) -> None:
        """Counts the tokens of an earlier session, so that the budget is the folder's."""
        budget = self._stack.budget
        usage = budget.usage
        budget.load_state_dict(
            {
                **budget.state_dict(),
                "billed_prompt": usage.billed_prompt + tally.prompt_tokens,
                "billed_completion": usage.billed_completion + tally.completion_tokens,
            }
        )

    def _chunks(self) -> Iterator[list[HeapText]]:
        texts = self._texts()
        while chunk := list(islice(texts, self._sizes.chunk)):
            yield chunk
        self._whole = True

    def _texts(self) -> Iterator[HeapText]:
        found = read_heap(self._heap, self._source, tagger=self._task.is_token_level)
        for one in found:
            if not isinstance(one, str):
                yield one
            elif one not in self._warned:
                self._warned.add(one)
                warn(self._console, one)

    def _summary(self, fitted: Fitted, done: _Done) -> Summary:
        names = [one.name for one in self._task.labels]
        return Summary(
            identity=self._identity,
            name=self._heap.names[0] if len(self._heap.names) == 1 else self._heap.folder.name,
            task=self._task,
            teacher=self._teacher,
            model=str(self._config.teacher.settings.get("model") or self._config.teacher.kind),
            shots=len(self._shots),
            classes=[*names, OUTSIDE] if self._task.is_token_level else names,
            fitted=fitted,
            tally=done.tally,
            files=done.files,
            complete=done.complete,
            configuration=plain_config(self._config.source),
        )
