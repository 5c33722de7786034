"""The requests that have no reply yet, of all texts of a heap, for the files of a batch service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.config.build import build, build_dataset, build_task
from tutelage.config.build_fit import gold_for
from tutelage.config.build_labeller import build_labeller
from tutelage.config.build_student import build_encoder
from tutelage.config.build_teacher import build_prompts, cache_file
from tutelage.config.schema import Component, RunConfig
from tutelage.data.dataset import Dataset
from tutelage.errors import BudgetExhausted, ConfigError, DataError, NoAnswer
from tutelage.label.batch_files import ReplyFiles, RequestFiles
from tutelage.label.command import Job
from tutelage.label.display import Display, warn
from tutelage.label.heap import HeapText, find_heap, read_heap
from tutelage.label.stream import check_budget, distinct_drafts
from tutelage.labelling.base import Labeller, Prepared
from tutelage.labelling.ensemble import EnsembleLabeller
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import OnReply, Prompt, Request, Teacher
from tutelage.teacher.engines.server_offline import OfflineServerTeacher
from tutelage.teacher.stack import Stack, build_teacher

if TYPE_CHECKING:
    from rich.console import Console

_OFFLINE = "tutelage.teacher.engines.server_offline.OfflineServerTeacher"
_UNCALIBRATED = Component("tutelage.labelling.calibration.NoCalibration")


def open_offline(
    config: RunConfig, replies: ReplyFiles, files: RequestFiles | None, count: _Tokens | None = None
) -> OfflineServerTeacher:
    """Builds the teacher of the configuration that reads files."""

    def collect(name: str, request: Request, path: str, body: dict[str, Any]) -> None:
        if files is not None and files.add(name, path, body) and count is not None:
            count.add(request)

    teacher: OfflineServerTeacher = build(
        replace(config.teacher, target=_OFFLINE),
        "teacher",
        replies=replies,
        collect=None if files is None else collect,
    )
    return teacher


class _Tokens:
    """Counts the tokens of requests that are written, where there is a budget.

    Args:
        limit: ``budget.tokens``; None counts nothing.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._prompts: list[Prompt] = []

    def add(self, request: Request) -> None:
        """Remembers a request."""
        if self._limit is not None:
            self._prompts.append(request.prompt)

    def take(self, teacher: Teacher) -> int:
        """Returns the tokens of the requests since the last time, with one for each reply."""
        found = sum(len(ids) + 1 for ids in teacher.tokenize(self._prompts))
        self._prompts.clear()
        return found


@dataclass(frozen=True, slots=True)
class Written:
    """Request files.

    Attributes:
        requests: Number of requests.
        files: The files.
        holds_calibration: Whether the calibration waits for the replies to some of them.
        ended_at: Texts of the heap before the one at which the budget ends; None if it suffices.
        waits: Whether the texts' own requests depend on replies to these.
    """

    requests: int
    files: Sequence[Path]
    holds_calibration: bool
    ended_at: int | None = None
    waits: bool = False


class RequestWriter:
    """Writes the requests that have no reply yet.

    Args:
        job: What is labelled, and how.
        config: Its configuration.
        replies: The replies so far; those in the teacher's cache count, too.
        console: Where progress is shown.
    """

    def __init__(self, job: Job, config: RunConfig, replies: ReplyFiles, console: Console) -> None:
        self._job, self._config, self._replies = job, config, replies
        self._console = console
        self._tokens = _Tokens(config.budget.tokens)

    def write(self, folder: Path) -> Written:
        """Writes them.

        Raises:
            ConfigError: The folder has other content, or the budget is spent at the first text.
            DataError: A file cannot be written.
        """
        dataset = build_dataset(self._config)
        task = build_task(self._config, dataset)
        with RequestFiles(folder) as files:
            engine = open_offline(self._config, self._replies, files, self._tokens)
            stack = build_teacher(
                engine, cache=cache_file(self._config), limit_tokens=self._config.budget.tokens
            )
            try:
                stack.begin(partial(warn, self._console))
                found = self._collect(dataset, task, stack, files)
            finally:
                stack.close()
            return replace(found, requests=files.requests, files=files.finish())

    def _collect(self, dataset: Dataset, task: Task, stack: Stack, files: RequestFiles) -> Written:
        with Display(self._console) as display:
            display.show("requests")
            fitted = self._labeller(self._config, dataset, task, stack)
            if self._prepare(fitted, stack, files):
                return Written(0, (), holds_calibration=True, waits=True)
            # Nothing is answered before the first replies.
            with suppress(NoAnswer):
                fitted.fit(dataset.dev, display.reply)
            # Requests do not depend on the calibration, which may not be fitted yet.
            plain = replace(self._config, calibration=_UNCALIBRATED)
            labeller = self._labeller(plain, dataset, task, stack)
            if isinstance(labeller, Prepared):
                billed = stack.budget.state_dict()
                labeller.fit()
                stack.budget.load_state_dict(billed)
            return self._of_texts(self._texts(task), labeller, stack, files, display)

    def _prepare(self, labeller: Labeller, stack: Stack, files: RequestFiles) -> bool:
        """Returns whether prompts depend on requests that have no reply yet, and collects those."""
        if isinstance(labeller, Prepared):
            billed = stack.budget.state_dict()
            for requests in labeller.preparation().values():
                stack.teacher.ask(requests)
            stack.budget.load_state_dict(billed)
        return files.requests > 0

    def _of_texts(
        self,
        texts: Iterator[HeapText],
        labeller: Labeller,
        stack: Stack,
        files: RequestFiles,
        display: Display,
    ) -> Written:
        """Collects the requests for all texts, those of the calibration first."""
        sizes = self._job.sizes
        first = list(islice(texts, sizes.calibrate_on))
        if not first:
            raise DataError(f"{self._job.source.file} has no texts. Give another --texts.")
        holds, read = files.requests > 0, 0
        for chunk in _chunks(first, texts, sizes.chunk):
            try:
                self._one(labeller, chunk, stack, display.reply)
            except BudgetExhausted as error:
                if read:
                    return Written(0, (), holds, read)
                raise ConfigError(
                    f"budget.tokens={self._config.budget.tokens} is spent before the first text: "
                    f"{error}. Raise it, or give fewer texts at once (--chunk)."
                ) from None
            holds = holds or (read < len(first) and files.requests > 0)
            read += len(chunk)
            display.show(f"{read:,} texts, {files.requests:,} requests")
        return Written(0, (), holds)

    def _one(
        self, labeller: Labeller, chunk: Sequence[HeapText], stack: Stack, on_reply: OnReply
    ) -> None:
        """Collects the requests for a chunk.

        Raises:
            BudgetExhausted: They would pass the limit. None is collected.
        """
        drafts = distinct_drafts(chunk)
        if not drafts:
            return
        check_budget(stack.budget, labeller, drafts)
        try:
            labeller.label(drafts, on_reply)
        except NoAnswer:
            # One member without an answer ends an ensemble; the others' requests are known, too.
            if isinstance(labeller, EnsembleLabeller):
                stack.teacher.ask(labeller.requests(drafts))
        # The requests written here are billed once they are answered.
        usage = stack.budget.usage
        written = usage.billed_prompt + self._tokens.take(stack.inner)
        stack.budget.load_state_dict({**stack.budget.state_dict(), "billed_prompt": written})

    def _labeller(self, config: RunConfig, dataset: Dataset, task: Task, stack: Stack) -> Labeller:
        return build_labeller(
            config,
            build_prompts(config, stack.engine, stack.inner),
            task,
            stack.teacher,
            ordered_demonstrations(gold_for(config, dataset), config.seed),
            embed=build_encoder(config),
        )

    def _texts(self, task: Task) -> Iterator[HeapText]:
        source = self._job.source
        heap = find_heap(source.file, tagger=task.is_token_level)
        told: set[str] = set()
        for one in read_heap(heap, source, tagger=task.is_token_level):
            if not isinstance(one, str):
                yield one
            elif one not in told:
                told.add(one)
                warn(self._console, one)


def _chunks(
    first: Sequence[HeapText], rest: Iterator[HeapText], size: int
) -> Iterator[Sequence[HeapText]]:
    """Yields the texts that a calibration is fitted on, in chunks, and then the others."""
    for start in range(0, len(first), size):
        yield first[start : start + size]
    while chunk := list(islice(rest, size)):
        yield chunk
