"""Batch files of OpenAI-compatible services: requests are written, and replies are read.

Both are JSON Lines. Replies are others' data: they come in any order, and every line is checked.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tutelage.errors import ConfigError, DataError
from tutelage.label.folder import locked, made_folder
from tutelage.teacher.engines.server_offline import FileReply
from tutelage.teacher.engines.server_replies import message_of, on_one_line

MOST_REQUESTS = 50_000
"""Requests of a file at most: OpenAI's limit."""
MOST_BYTES = 200 * 10**6
"""Bytes of a file at most: OpenAI's limit is 200 MB."""
_LONGEST = 8 * 2**20
"""Bytes of a reply at most, as for a live server's; real ones have a few thousand."""
_NAME = "requests-{:05d}.jsonl"
_WRITTEN = "requests-*.jsonl"
_ADVICE = "Get the file again, or remove the line: a request without a reply can be asked again."


class RequestFiles:
    """Writes files of requests into a folder, which is there with all of them or not at all.

    Use it as a context manager, and call :meth:`finish` at the end.

    Args:
        folder: The folder. It may exist if it is empty, or has these very files.
        most_requests: Requests of a file at most.
        most_bytes: Bytes of a file at most.

    Attributes:
        requests: Number of requests so far.

    Raises:
        ConfigError: The folder is a file, or has other content.
    """

    def __init__(
        self, folder: Path, most_requests: int = MOST_REQUESTS, most_bytes: int = MOST_BYTES
    ) -> None:
        _check_folder(folder)
        self._folder = folder
        self._most_requests, self._most_bytes = most_requests, most_bytes
        self._part = folder.with_name(f".{folder.name}.part")
        self._names: set[str] = set()
        self._paths: list[Path] = []
        self._file: IO[bytes] | None = None
        self._in_file = self._bytes = 0
        self._held = ExitStack()

    @property
    def requests(self) -> int:
        """Number of different requests so far."""
        return len(self._names)

    def __enter__(self) -> RequestFiles:
        """Begins in a temporary folder, and clears what a killed command left there.

        Raises:
            DataError: It cannot be written, or another process writes there.
        """
        lock = self._folder.with_name(f".{self._folder.name}.lock")
        try:
            made_folder(self._folder.parent)
            if not self._held.enter_context(locked(lock, wait=False)):
                raise DataError(
                    f"Another process writes request files to {self._folder}. Wait for it, or "
                    "give another folder with --batch-requests."
                )
            if self._part.exists():
                shutil.rmtree(self._part)
            self._part.mkdir()
        except BaseException as error:
            self._held.close()
            if isinstance(error, OSError):
                raise self._not_written(error) from error
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Removes what was not finished."""
        if self._file is not None:
            self._file.close()
        shutil.rmtree(self._part, ignore_errors=True)
        self._held.close()

    def add(self, name: str, path: str, body: dict[str, Any]) -> bool:
        """Writes a request, unless it is there already.

        Args:
            name: Its ``custom_id``.
            path: Its address, such as "/v1/chat/completions".
            body: Its body.

        Returns:
            Whether it is new.

        Raises:
            DataError: It cannot be written.
        """
        if name in self._names:
            return False
        record = {"custom_id": name, "method": "POST", "url": path, "body": body}
        line = json.dumps(record).encode() + b"\n"
        try:
            self._room_for(len(line)).write(line)
        except OSError as error:
            raise self._not_written(error) from error
        self._names.add(name)
        return True

    def finish(self) -> list[Path]:
        """Gives the folder its name.

        Returns:
            The files; none if there is no request, and then no folder either.

        Raises:
            ConfigError: The folder has other content by now.
            DataError: It cannot be written.
        """
        try:
            self._close_file()
            if not self._paths:
                return []
            found = [self._folder / path.name for path in self._paths]
            _check_folder(self._folder)
            if self._folder.is_dir() and any(self._folder.iterdir()):
                self._compare()
            else:
                self._part.rename(self._folder)
        except OSError as error:
            raise self._not_written(error) from error
        return found

    def _compare(self) -> None:
        """Accepts a folder with these very files, which an earlier command wrote."""
        there = sorted(path.name for path in self._folder.glob(_WRITTEN))
        same = there == [path.name for path in self._paths] and all(
            _same_content(path, self._folder / path.name) for path in self._paths
        )
        if not same:
            raise ConfigError(
                f"--batch-requests {self._folder} has other request files already. Give another "
                "folder, so that none of them is sent twice."
            )

    def _room_for(self, size: int) -> IO[bytes]:
        """Returns the open file, or a new one if a line of this size does not fit."""
        full = self._in_file >= self._most_requests or self._bytes + size > self._most_bytes
        if self._file is None or full:
            self._close_file()
            path = self._part / _NAME.format(len(self._paths))
            self._file = path.open("wb")
            self._paths.append(path)
            self._in_file = self._bytes = 0
        self._in_file += 1
        self._bytes += size
        return self._file

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _not_written(self, error: OSError) -> DataError:
        return DataError(
            f"{self._folder} cannot be written: {error.strerror or error}. See that the disk has "
            "room and that you may write there, and run the same command again."
        )


def _check_folder(folder: Path) -> None:
    """Refuses a folder that has anything but request files.

    Raises:
        ConfigError: It has, or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--batch-requests {folder} is a file. Give a folder.")
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if others := sorted(there - {path.name for path in folder.glob(_WRITTEN)}):
        raise ConfigError(
            f"--batch-requests {folder} has other files ({others[0]}). Give a folder of its own."
        )


def _same_content(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(2**20):
            if block != second.read(2**20):
                return False
    return True


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a reply is, and whether it is one of status 200."""

    file: int
    at: int
    good: bool


class ReplyFiles:
    """The replies of batch files, by the names of their requests; the files stay on the disk.

    Of several replies to one request the first one of status 200 counts, or else the last one.

    Args:
        paths: The files.

    Attributes:
        lines: Number of replies.
        failed: Number of replies without an answer: an error, another status than 200, or no
            ``custom_id``.
        example: The first of these.

    Raises:
        DataError: A file cannot be read, or a line is no reply.
    """

    def __init__(self, paths: tuple[Path, ...] = ()) -> None:
        self._paths = paths
        self._places: dict[str, _Place] = {}
        self._models: Counter[str] = Counter()
        self._used: set[str] = set()
        self.lines = self.failed = 0
        self.example = ""
        for number, path in enumerate(paths):
            for line, at, record in _records(path):
                self._index(number, at, record, f"{path}, line {line}")

    @property
    def model(self) -> str:
        """What the replies call their model; "" if they do not say, or there are none."""
        return self._models.most_common(1)[0][0] if self._models else ""

    @property
    def unknown(self) -> int:
        """Number of names that no request asked for so far."""
        return len(self._places) - len(self._used)

    def find(self, name: str) -> FileReply | None:
        """Returns the reply to the request with this name.

        Raises:
            DataError: The file changed since it was first read.
        """
        place = self._places.get(name)
        if place is None:
            return None
        self._used.add(name)
        path = self._paths[place.file]
        try:
            with path.open("rb") as file:
                file.seek(place.at)
                found = _parsed(file.readline(_LONGEST + 1), str(path))
            given, reply = _reply(found, str(path))
        except (DataError, OSError):
            given = None
        if given != name:
            raise DataError(f"{path} changed while it was read. Run the same command again.")
        return reply

    def _index(self, file: int, at: int, record: dict[str, Any], where: str) -> None:
        name, reply = _reply(record, where)
        self.lines += 1
        good = reply.status == 200
        if not good or name is None:
            self.failed += 1
            said = "it has no custom_id" if name is None else f"HTTP {reply.status}: {reply.said}"
            self.example = self.example or f"{where}: {said}"
        if name is None:
            return
        before = self._places.get(name)
        if before is None or not before.good:
            self._places[name] = _Place(file, at, good)
        if good and isinstance(model := reply.body.get("model"), str):
            # Cut as where replies are read, or a long name would be another one there.
            self._models[on_one_line(model)[:200]] += 1


def find_replies(path: Path) -> tuple[Path, ...]:
    """Returns the files of replies: a file, or those of a folder in the order of their names.

    Raises:
        DataError: There is none.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise DataError(
            f"--batch-replies {path} does not exist. Give a file of replies, or a folder of them."
        )
    found = sorted(one for one in path.glob("*.jsonl") if not one.name.startswith("."))
    if not found:
        raise DataError(
            f"--batch-replies {path} has no file whose name ends with .jsonl. Put the replies of "
            "the batch service there."
        )
    return tuple(found)


def _records(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yields the number of each line, its place in the file, and its content.

    Raises:
        DataError: A line is no JSON object, or the file cannot be read.
    """
    number = at = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST + 1):
                number += 1
                if line.strip():
                    yield number, at, _parsed(line, f"{path}, line {number}")
                at += len(line)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    if len(line) > _LONGEST:
        raise DataError(f"{where} is longer than {_LONGEST // 2**20} MB. {_ADVICE}")
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError(f"{where} is not JSON: {str(said)[:200]}. {_ADVICE}") from None
    if not isinstance(record, dict):
        raise DataError(f"{where} is no JSON object, but {str(record)[:40]!r}. {_ADVICE}")
    return record


def _reply(record: dict[str, Any], where: str) -> tuple[str | None, FileReply]:
    """Reads a line of a file of replies.

    Returns:
        The name of its request, and the reply.

    Raises:
        DataError: It is no reply.
    """
    if "response" not in record and "error" not in record:
        what = "a request" if "body" in record else "no reply"
        raise DataError(
            f"{where} is {what}: it has neither 'response' nor 'error'. Give --batch-replies the "
            "files that the batch service wrote."
        )
    name = record.get("custom_id")
    response = record.get("response")
    error = record.get("error")
    if name is not None and not isinstance(name, str):
        raise _wrong(where, "custom_id", name)
    if response is None:
        return name, FileReply(0, None, _said(error, "it has no response"))
    if not isinstance(response, dict):
        raise _wrong(where, "response", response)
    status = response.get("status_code")
    if type(status) is not int or not 0 <= status < 1000:
        raise _wrong(where, "response.status_code", status)
    body = response.get("body")
    if status != 200:
        return name, FileReply(status, None, _said(error or body, "no message"))
    if error:
        return name, FileReply(0, None, _said(error, "an error"))
    if not isinstance(body, dict):
        raise _wrong(where, "response.body", body)
    return name, FileReply(200, body)


def _said(error: Any, otherwise: str) -> str:
    if not error:
        return otherwise
    return on_one_line(message_of(json.dumps(error).encode()))[:300]


def _wrong(where: str, field: str, value: Any) -> DataError:
    return DataError(f"{where}: its {field!r} cannot be {str(value)[:40]!r}. {_ADVICE}")
