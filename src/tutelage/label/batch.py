"""`tutelage label` by batch files: requests for a batch service are written, its replies are read.

Texts, prompts, calibration and rows are those of a live server (``teacher=server``). A request that
depends on replies to others, such as one that tells labels apart which begin alike, is written once
those are there.
"""

from __future__ import annotations

import os
import shlex
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.config.build_teacher import build_stack
from tutelage.config.check import locate
from tutelage.config.schema import Component, RunConfig
from tutelage.errors import ConfigError
from tutelage.label.batch_files import ReplyFiles, find_replies
from tutelage.label.batch_requests import RequestWriter, Written, open_offline
from tutelage.label.command import Job, work
from tutelage.label.display import tell, warn
from tutelage.label.frozen import NAME as CALIBRATION
from tutelage.labelling.boosted import BoostedLabeller
from tutelage.teacher.engines.server import ServerTeacher
from tutelage.teacher.engines.server_offline import FewReplies, NotingTeacher, OfflineServerTeacher
from tutelage.teacher.stack import Stack

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """The files of a batch service.

    Attributes:
        requests: Folder for the requests without a reply; None to write none.
        replies: File or folder of replies; None for none.
    """

    requests: Path | None
    replies: Path | None


def label_by_files(job: Job, files: BatchFiles) -> int:
    """Writes requests for a batch service, or labels a heap by its replies, or both.

    Args:
        job: What is labelled, and how. Its folder is only written with replies.
        files: Where requests go, and where replies are.

    Returns:
        The exit code, 0.

    Raises:
        BudgetExhausted: ``budget.tokens`` is spent.
        ConfigError: A setting is wrong, or cannot be asked by files.
        DataError: A file cannot be read or written, or a line is no reply.
        FewReplies: Most replies are missing, and no file for the rest was wanted.
        TeacherError: The replies are of several models, or have no label among their tokens.
    """
    from tutelage.terminal import new_console

    console = new_console()
    config = job.check()
    check_settings(config)
    replies = ReplyFiles(() if files.replies is None else find_replies(files.replies))
    if files.replies is not None:
        _tell_read(console, replies)
    if files.requests is not None:
        # With replies, too: the requests that follow from them are written first.
        found = RequestWriter(job, config, replies, console).write(files.requests)
        _tell_requests(console, job, files, found, config)
        if files.replies is None or (found.holds_calibration and not _is_calibrated(job)):
            return 0
    return _label(job, replies, console, more=files.requests is not None)


def check_settings(config: RunConfig) -> None:
    """Refuses what cannot be asked by files.

    Raises:
        ConfigError: The teacher is no server, or there are several teachers.
    """
    teacher = locate(config.teacher.target, "teacher")
    if not (isinstance(teacher, type) and issubclass(teacher, ServerTeacher)):
        given = config.hydra.choices.get("teacher") or config.teacher.kind
        raise ConfigError(
            f"Batch files hold requests for a server, and teacher={given} is none. "
            "Give teacher=server with teacher.model, teacher.api=chat and teacher.scoring=exact "
            "(vLLM) or teacher.scoring=top (OpenAI and others). `vllm run-batch` answers them on "
            "this machine; or label without files."
        )
    if config.other_teachers:
        raise ConfigError(
            "Batch files are of one teacher, and labelling.teachers names "
            f"{', '.join(config.other_teachers)} besides. Give labelling=text."
        )
    if issubclass(_class_of(config.labelling), BoostedLabeller):
        raise ConfigError(
            "labelling=boosted asks step by step, each step after the replies to the one before, "
            "which takes too many rounds of batch files. Give labelling=text."
        )


def _class_of(component: Component) -> type:
    found = locate(component.target, "labelling")
    return found if isinstance(found, type) else object


def _is_calibrated(job: Job) -> bool:
    return (job.to / CALIBRATION).is_file()


def _label(job: Job, replies: ReplyFiles, console: Console, *, more: bool) -> int:
    """Labels the heap by replies.

    Args:
        job: What is labelled, and how.
        replies: The replies.
        console: Where progress is shown.
        more: Whether the requests without a reply were written, so that more replies will come.
    """
    engines: list[OfflineServerTeacher] = []

    def opened(config: RunConfig, folder: Path) -> Stack:
        engine = open_offline(config, replies, None)
        engines.append(engine)
        stack = build_stack(config, folder, engine)
        return replace(stack, teacher=NotingTeacher(stack.teacher, engine, strict=True))

    try:
        part = work(job, lambda _: nullcontext(console), opened, FewReplies)
    except FewReplies:
        _tell_unused(console, replies)
        raise
    counts = engines[0].counts
    if counts.lost:
        example = f", the first: {counts.example}" if counts.example else ""
        missing, failed = len(counts.missing), len(counts.failed)
        warn(
            console,
            f"{missing:,} requests have no reply, and {failed:,} replies are not usable{example}.",
        )
    _tell_unused(console, replies, part.kept)
    if part.left and not more:
        raise FewReplies(
            f"{len(part.left):,} files of {job.to / 'data'} are not written, as most of their "
            "requests have no reply. Give all files of replies (--batch-replies takes a folder), "
            "or write the missing requests once more with --batch-requests."
        )
    return 0


def _tell_read(console: Console, replies: ReplyFiles) -> None:
    tell(console, f"{replies.lines:,} replies")
    if replies.failed:
        warn(console, f"{replies.failed:,} of them failed, the first: {replies.example}")


def _tell_unused(console: Console, replies: ReplyFiles, kept: int = 0) -> None:
    """Tells of replies that no request asked for.

    Args:
        console: Where it is told.
        replies: The replies.
        kept: Texts that were labelled before, about which nothing was asked.
    """
    count = f"{replies.unknown:,} of {replies.lines:,} replies"
    if kept and replies.unknown:
        what = "their texts are labelled already, or no request has their custom_id"
        tell(console, f"{count} were not needed: {what}.")
    elif replies.unknown:
        what = "no request has their custom_id, so they are of other texts, prompts or settings"
        warn(console, f"{count} were not used: {what}.")


def _tell_requests(
    console: Console, job: Job, files: BatchFiles, found: Written, config: RunConfig
) -> None:
    """Tells what was written and what to do next."""
    if found.ended_at is not None:
        warn(
            console,
            f"budget.tokens={config.budget.tokens} ends after {found.ended_at:,} texts; raise it "
            "for requests for the others.",
        )
    if not found.files:
        tell(console, "Every request has its reply; no file is written.")
        if files.replies is None:
            tell(console, f"Next, with the replies that are there:\n{_command(job, 'REPLIES')}")
        return
    count = f"{len(found.files):,} file" + ("s" if len(found.files) > 1 else "")
    tell(console, f"{found.requests:,} requests in {count}: {found.files[0].parent}")
    if found.waits:
        tell(console, "The requests for the texts follow, once these are answered.")
    elif found.holds_calibration and files.replies is not None:
        tell(console, "Labels follow once the requests of the calibration are answered.")
    if config.teacher.get("api") == "chat" and config.teacher.get("scoring") == "exact":
        model = shlex.quote(str(config.teacher.get("model")))
        one = shlex.quote(str(found.files[0]))
        tell(console, "Next, for each file:")
        tell(console, f"vllm run-batch -i {one} -o replies/replies-00000.jsonl --model {model}")
    else:
        tell(console, "Next: give each file to the batch service, and put its replies in a folder.")
        if config.teacher.get("api") == "completions":
            tell(console, "`vllm run-batch` (0.32) takes messages alone, by teacher.api=chat.")
    tell(console, f"Then:\n{_command(job, 'replies')}")


def _command(job: Job, replies: str) -> str:
    """Returns the command that labels by replies."""
    source, sizes = job.source, job.sizes
    words = ["tutelage", "label", *job.overrides, "--texts", str(source.file), "--to", str(job.to)]
    for option, value, default in (
        ("--text-column", source.text_column, "text"),
        ("--words-column", source.words_column, "tokens"),
        ("--encoding", source.encoding, "utf-8"),
        ("--chunk", sizes.chunk, 10_000),
        ("--calibrate-on", sizes.calibrate_on, 2_000),
    ):
        if value != default:
            words += [option, str(value)]
    if folder := os.environ.get("TUTELAGE_CONF"):
        words += ["--config-dir", folder]
    return shlex.join([*words, "--batch-replies", replies])
