"""`tutelage serve-student`: a web service around a student or an export of it.

Texts of requests that arrive while a batch is labelled form the next batch. The service has neither
accounts nor encryption; a proxy in front of it does both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tutelage.characters import usable
from tutelage.data.unlabelled import Row
from tutelage.errors import ConfigError
from tutelage.predict import label_rows
from tutelage.version import __version__

_BATCH = 64
"""Texts of several requests that are labelled together."""
_WAITING = 16
"""Largest requests whose texts may wait."""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]


def _usable(value: Any) -> Any:
    """Replaces characters as in training, halves of an emoji among them, which pydantic refuses."""
    if isinstance(value, list):
        return [_usable(one) for one in value]
    return usable(value) if isinstance(value, str) else value


class Request(BaseModel):
    """The texts to label: one, or a list."""

    model_config = ConfigDict(extra="forbid")

    texts: Annotated[str | Annotated[list[str], Field(min_length=1)], BeforeValidator(_usable)]


class Entity(BaseModel):
    """An entity, with its characters [start, end) in the text."""

    start: int
    end: int
    text: str
    label: str
    confidence: float


class Prediction(BaseModel):
    """A text with its label (null for a blank text) and probabilities, or with its entities."""

    text: str
    label: str | None = None
    confidence: float | None = None
    probabilities: dict[str, float] | None = None
    entities: list[Entity] | None = None


class Answer(BaseModel):
    """One prediction per text, in order."""

    predictions: list[Prediction]


class Health(BaseModel):
    """What the service predicts."""

    status: str
    task: str
    labels: list[str]
    max_length: int
    version: str


class Batcher:
    """Labels the texts of concurrent requests in common batches, one batch at a time.

    Args:
        label: Labels texts; called in a thread.
        most_waiting: Number of texts that may wait.
    """

    def __init__(self, label: Callable[[list[str]], list[Any]], most_waiting: int) -> None:
        self._label = label
        self._most = most_waiting
        self._waiting: list[tuple[list[str], asyncio.Future[list[Any]]]] = []
        self._working: asyncio.Task[None] | None = None

    async def predict(self, texts: list[str]) -> list[Any] | None:
        """Returns the predictions of a request's texts; None if too many wait already."""
        held = sum(len(others) for others, _ in self._waiting)
        if held and held + len(texts) > self._most:
            return None
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((texts, future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while batch := self._next():
            texts = [text for part, _ in batch for text in part]
            try:
                found = await asyncio.to_thread(self._label, texts)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for part, future in batch:
                mine, found = found[: len(part)], found[len(part) :]
                if not future.done():  # its client may have gone
                    future.set_result(mine)

    def _next(self) -> list[tuple[list[str], asyncio.Future[list[Any]]]]:
        """Requests for one batch: at least one, and further ones while there is room."""
        batch = self._waiting[:1]
        count = sum(len(texts) for texts, _ in batch)
        for one in self._waiting[1:]:
            if (count := count + len(one[0])) > _BATCH:
                break
            batch.append(one)
        del self._waiting[: len(batch)]
        return batch


class _BodyLimit:
    """Stops reading the body of a request that is longer than allowed."""

    def __init__(self, app: Any, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: _Message, receive: _Receive, send: Any) -> None:
        from fastapi import HTTPException

        seen = 0

        async def limited() -> _Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(
                    413,
                    f"The request has more than {self._most:,} bytes, the most this service takes "
                    "(--max-bytes). Send the texts in several requests.",
                )
            return message

        await self._app(scope, limited if scope["type"] == "http" else receive, send)


def new_app(student: Any, *, max_texts: int = 256, max_bytes: int = 2**20) -> Any:
    """Returns the service as an ASGI application.

    Args:
        student: A :class:`tutelage.student.inference.Student`.
        max_texts: Largest number of texts of a request.
        max_bytes: Largest size of a request.

    Raises:
        ConfigError: The extra ``serve`` is not installed, or a limit is below 1.
    """
    _check_installed()
    for option, value in (("--max-texts", max_texts), ("--max-bytes", max_bytes)):
        if value < 1:
            raise ConfigError(f"{option} {value} lets no request pass. Give 1 or more.")
    from fastapi import FastAPI, HTTPException
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse

    from tutelage.student.loading import head_of

    head = head_of(student.network.config.to_dict())
    health = Health(
        status="ok",
        task="ner" if head == "token" else "classification",
        labels=list(student.labels),
        max_length=student.max_length,
        version=__version__,
    )
    batcher = Batcher(
        lambda texts: list(label_rows(student, [Row(text) for text in texts])),
        most_waiting=_WAITING * max_texts,
    )
    app = FastAPI(title="tutelage student", version=__version__)
    app.add_middleware(_BodyLimit, most=max_bytes)

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Any, error: RequestValidationError) -> JSONResponse:
        """Says what is wrong, without the texts of the request."""
        found = {one["msg"] for one in error.errors()}
        wanted = 'Send {"texts": "a text"} or {"texts": ["a text", …]} as application/json.'
        return JSONResponse({"detail": f"{'; '.join(sorted(found))}. {wanted}"}, 422)

    @app.get("/health")
    async def report_health() -> Health:
        """Says that the service runs, and what it predicts."""
        return health

    @app.post("/predict", response_model_exclude_unset=True)
    async def predict(request: Request) -> Answer:
        """Labels texts, or finds their entities."""
        texts = [request.texts] if isinstance(request.texts, str) else request.texts
        if len(texts) > max_texts:
            raise HTTPException(
                413,
                f"The request has {len(texts):,} texts, and this service takes {max_texts:,} at "
                "once (--max-texts). Send them in several requests.",
            )
        found = await batcher.predict(texts)
        if found is None:
            raise HTTPException(503, "Too many texts are waiting. Send the request again later.")
        return Answer(predictions=[Prediction(**one) for one in found])

    return app


def serve_student(folder: Path, *, host: str, port: int, max_texts: int, max_bytes: int) -> int:
    """Serves a student until it is interrupted.

    Args:
        folder: A run folder, the folder of a student, or an export of it.
        host: Address to listen on.
        port: Port to listen on.
        max_texts: Largest number of texts of a request.
        max_bytes: Largest size of a request.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: The extra is not installed, or a limit is below 1.
        DataError: There is no student in the folder.
        StudentError: The student cannot be loaded.
    """
    _check_installed()
    import uvicorn

    from tutelage.student.inference import load

    app = new_app(load(folder), max_texts=max_texts, max_bytes=max_bytes)
    uvicorn.run(app, host=host, port=port)
    return 0


def _check_installed() -> None:
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"A service needs {' and '.join(missing)}. Install the extra: "
            "pip install 'tutelage[serve]'."
        )
