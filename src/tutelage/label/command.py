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

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tutelage.config.build import (
    build_dataset,
    build_encoder,
    build_labeller,
    build_prompts,
    build_stack,
    build_task,
)
from tutelage.config.compose import compose_config
from tutelage.config.schema import RunConfig
from tutelage.data.dataset import Dataset
from tutelage.data.unlabelled import Source
from tutelage.errors import BudgetExhausted, ConfigError, DataError
from tutelage.label.folder import (
    CARD,
    Identity,
    OpenFolder,
    Summary,
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
from tutelage.records import Example
from tutelage.runs.manifest import plain_config
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Reply
from tutelage.teacher.stack import Stack
from tutelage.training import gold_for

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_EVERY = 0.2
"""Seconds between two changes of the live line."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How the heap is cut.

    Attributes:
        chunk: Texts per chunk, and so per file.
        calibrate_on: First texts of the heap that the calibration is fitted on.
    """

    chunk: int = 10_000
    calibrate_on: int = 2_000


def label(
    overrides: Sequence[str],
    source: Source,
    to: Path,
    sizes: Sizes | None = None,
) -> int:
    """Labels every text of a heap.

    Args:
        overrides: A run's overrides: data (labels and shots), teacher, labelling, budget.tokens.
        source: The heap, a file or a folder, and how to read it.
        to: The folder of the labelled texts; one that was begun is continued.
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

    console, sizes, to = new_console(), sizes or Sizes(), to.expanduser()
    for option, value in (("--chunk", sizes.chunk), ("--calibrate-on", sizes.calibrate_on)):
        if value < 1:
            raise ConfigError(f"{option} {value} must be 1 or more texts.")
    config = compose_config(overrides)
    dataset = build_dataset(config)
    task = build_task(config, dataset)
    heap = find_heap(source.file, tagger=task.is_token_level)
    if heap.passed_over:
        _warn(console, f"{len(heap.passed_over):,} files of {source.file} hold no texts.")
    with opened_folder(to) as folder:
        stack = build_stack(config, folder.own)
        try:
            stack.begin(partial(_warn, console))
            work = _Work(config, dataset, task, stack, heap, source, folder, sizes, console)
            work.do()
        finally:
            stack.close()
    return 0


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
        source: Source,
        folder: OpenFolder,
        sizes: Sizes,
        console: Console,
    ) -> None:
        self._config, self._task, self._stack = config, task, stack
        self._heap, self._source, self._to = heap, source, folder.path
        self._sizes, self._console, self._warned = sizes, console, set[str]()
        # Texts of the heap that were read, whether these are all, and the files that were counted.
        self._read = 0
        self._whole = False
        self._billed: set[Path] = set()
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

    def do(self) -> None:
        """Labels all chunks without a file, and writes record and card."""
        lock = self._to / ".calibration.lock"
        with locked(lock, wait=False) as mine:
            if mine:
                self._calibrate()
        if not mine:
            _tell(self._console, "Another process fits the calibration; this one waits for it.")
            with locked(lock, wait=True):
                self._calibrate()
        fitted = load_calibration(self._to / CALIBRATION, self._labeller)
        self._bill(fitted.cost)
        if not (self._to / CARD).exists():
            self._summarise(fitted)
        try:
            with _Display(self._console) as display:
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
        self._tell(self._summarise(fitted))

    def _label_all(self, display: _Display) -> bool:
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
                records, tally = chunks.label(texts, display.reply)
                write_shard(path, records, tally, is_token_level=self._task.is_token_level)
                display.end(tally)
                self._billed.add(path)
                worked = True
        return worked and left

    def _kept(self, path: Path, texts: int, display: _Display) -> bool:
        """Returns whether a chunk is labelled, and counts its tokens the first time."""
        tally = read_tally(path)
        if tally is None or tally.texts != texts:
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
        with _Display(self._console) as display:
            display.begin("calibration", len(first))
            dev: Sequence[Example] = self._dev
            fit_calibration(path, self._labeller, first, dev, self._stack.budget, display.reply)

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
                _warn(self._console, one)

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

    def _tell(self, found: Summary) -> None:
        tally = found.tally
        counts = ", ".join(f"{name}: {count:,}" for name, count in tally.classes.items())
        lines = [f"{tally.texts:,} texts: {tally.labelled:,} labelled ({counts})"]
        if not found.complete:
            lines.append("Other processes label the rest; the last one completes the folder.")
        lines += [f"{count:,} without a label: {reason}" for reason, count in tally.reasons.items()]
        if tally.shortened:
            lines.append(f"{tally.shortened:,} long texts were shortened in their prompts")
        lines.append(f"{tally.plus(found.fitted.cost).tokens:,} billed tokens")
        for line in (*lines, "", str(self._to)):
            _tell(self._console, line)


class _Display:
    """A live line in a terminal, and elsewhere a line per file."""

    def __init__(self, console: Console) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None, note="")
        self._began = self._shown = time.monotonic()
        self._name, self._size, self._replies = "", 0, 0
        self._whole, self._kept, self._here = Tally(), 0, 0

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, name: str, texts: int) -> None:
        """A chunk begins."""
        self._tell_kept()
        self._name, self._size, self._replies = name, texts, 0
        self._show()

    def kept(self, tally: Tally) -> None:
        """A chunk was labelled in an earlier session."""
        self._whole = self._whole.plus(tally)
        self._kept += tally.texts

    def reply(self, reply: Reply) -> None:
        """A reply arrived."""
        self._replies += 1
        if time.monotonic() - self._shown > _SHOWN_EVERY:
            self._show()

    def end(self, tally: Tally) -> None:
        """A chunk is written."""
        self._whole = self._whole.plus(tally)
        self._here += tally.texts
        if not self._console.is_terminal:
            line = f"{self._name}: {tally.labelled:,} of {tally.texts:,} labelled; {self._note()}"
            self._console.print(line, highlight=False, soft_wrap=True)

    def _tell_kept(self) -> None:
        if self._kept:
            line = f"{self._kept:,} texts were labelled before and are kept."
            self._console.print(line, highlight=False, soft_wrap=True)
            self._kept = 0

    def _show(self) -> None:
        self._shown = time.monotonic()
        chunk = f"{self._name}: {self._replies:,} replies to {self._size:,} texts"
        self._progress.update(self._task, description=chunk, note=self._note())

    def _note(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        speed = f", {self._here / seconds:,.0f} texts/s" if self._here else ""
        return f"{self._whole.texts:,} texts, {self._whole.tokens:,} tokens{speed}"


def _tell(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def _warn(console: Console, message: str) -> None:
    from rich.markup import escape

    console.print(f"[yellow]warning[/]   {escape(message)}", highlight=False, soft_wrap=True)
