"""Token ids of texts and spellings of tokens, from a tokenizer here or from the server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import TeacherError
from tutelage.teacher.base import Chat
from tutelage.teacher.chat import has_template, render_ids
from tutelage.teacher.engines.model_files import find_tokenizer, token_ids
from tutelage.teacher.engines.server_chat import ChatForm, without_prefill
from tutelage.teacher.engines.server_client import Client, ServerClient
from tutelage.teacher.engines.server_errors import Lasting, NotFoundError, Refused
from tutelage.teacher.engines.server_replies import read_token_ids
from tutelage.teacher.engines.server_tokens import Reading, readings, spellings
from tutelage.teacher.engines.server_words import stand_in

_ADVICE = "Set teacher.tokenizer to the model's tokenizer (a folder, a tokenizer.json or a hub id)."


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a text.

    Attributes:
        ids: Their ids.
        pieces: Their spellings; empty if unknown.
    """

    ids: tuple[int, ...]
    pieces: tuple[str, ...] = ()


class ServerTokenizer:
    """The tokenizer of a server's model.

    Args:
        name: A folder, a tokenizer.json or a hub id; "" for the server's ``/tokenize``. A server
            without it gets the tokenizer of the hub id (or folder) ``model``.
        model: Name of the model on the server.

    Attributes:
        name: As given.
    """

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self._model = model
        self._here: Any = None
        self._spelt: dict[int, frozenset[Reading]] = {}

    @property
    def is_here(self) -> bool:
        """Whether a tokenizer on this machine is used; :meth:`load` loads it."""
        return bool(self.name) or self._here is not None

    def load(self, server: str = "") -> None:
        """Loads the tokenizer on this machine.

        Args:
            server: The server that cannot tokenize, for messages.

        Raises:
            TeacherError: There is none.
        """
        if self._here is not None:
            return
        if not self.name and not (Path(self._model).is_dir() or self._model.count("/") == 1):
            raise TeacherError(
                f"the server at {server} cannot tokenize, and teacher.model={self._model} names no "
                f"tokenizer. {_ADVICE}"
            )
        self._here = find_tokenizer(self.name or self._model)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text by the tokenizer on this machine, once it is loaded."""
        return token_ids(self._here, texts)

    def length(self, text: str) -> int:
        """Returns the number of tokens of a text; an estimate if no tokenizer is loaded."""
        if self._here is not None:
            return len(token_ids(self._here, [text])[0])
        return -(-len(text.encode(errors="replace")) // 4)

    def chat_ids(self, chat: Chat) -> list[int]:
        """Returns the ids of a chat by the tokenizer on this machine, once it is loaded."""
        if has_template(self._here):
            return render_ids(self._here, chat)
        # A tokenizer.json alone: a reply follows a mark of the template, whatever the template is.
        before = without_prefill(chat)
        begun = chat.messages[-1].content if chat.is_prefilled else ""
        question, reply = token_ids(self._here, [str(before), begun])
        return [*question, *reply]

    def estimate(self, text: str) -> list[int]:
        """Returns numbers that stand for the tokens of a text, about as many as it has."""
        data = text.encode(errors="replace")
        return [stand_in(data[at : at + 4].hex()) for at in range(0, len(data), 4)]

    def estimate_chat(self, chat: Chat) -> list[int]:
        """Returns numbers that stand for the tokens of a chat; a prefill has a single one."""
        begun = [stand_in(chat.messages[-1].content)] if chat.is_prefilled else []
        return [*self.estimate(str(without_prefill(chat))), *begun]

    async def ask_chats(
        self, client: ServerClient, chats: Sequence[Chat], form: ChatForm
    ) -> list[Tokens]:
        """Asks the server for the tokens of each chat.

        Args:
            client: The client of the server.
            chats: The chats; one or more.
            form: The form of chat requests.

        Raises:
            NotFoundError: The server has no ``/tokenize`` for chats.
            Lasting: The server does not answer.
            TeacherError: Its answers hold no token ids.
        """
        first = await self._rendered(client, chats[0], form)
        ask = self._rendered if first is not None else self._templated
        rows = await asyncio.gather(*(ask(client, chat, form) for chat in chats[1:]))
        found = [first or await self._templated(client, chats[0], form), *rows]
        if None in found:
            raise self._no_ids(client)
        return [row for row in found if row is not None]

    async def _rendered(self, client: ServerClient, chat: Chat, form: ChatForm) -> Tokens | None:
        """Asks as vLLM wants it; None if the server ignores messages."""
        sent = {"model": self._model, "add_special_tokens": False} | form.rendering(chat)
        try:
            ids, _ = read_token_ids(await client.post("/tokenize", sent))
        except (Refused, ValueError):
            return None
        return Tokens(tuple(ids)) if ids else None

    async def _templated(self, client: ServerClient, chat: Chat, form: ChatForm) -> Tokens | None:
        """Asks as llama.cpp wants it: first for the text, then for its tokens."""
        try:
            answer = await client.post("/apply-template", form.rendering(chat))
        except Refused:
            return None
        text = answer.get("prompt") if isinstance(answer, dict) else None
        return await self._tokens(client, "content", text) if isinstance(text, str) else None

    async def ask(self, client: ServerClient, texts: Sequence[str]) -> list[Tokens]:
        """Asks the server for the tokens of each text.

        Raises:
            NotFoundError: The server has no ``/tokenize``.
            Lasting: The server does not answer.
            TeacherError: Its answers hold no token ids.
        """
        # The first text finds out which body the server wants.
        body, first = await self._first(client, texts[0])
        rest = await asyncio.gather(*(self._tokens(client, body, text) for text in texts[1:]))
        rows = [first, *rest]
        for text, row in zip(texts, rows, strict=True):
            if row is None:
                raise self._no_ids(client)
            self.learn(text, row)
        return [row for row in rows if row is not None]

    def learn(self, text: str, tokens: Tokens) -> None:
        """Remembers the spellings of a text's tokens."""
        pieces = tokens.pieces or ((text,) if len(tokens.ids) == 1 else ())
        for number, piece in zip(tokens.ids, pieces, strict=False):
            self._spelt.setdefault(number, readings(piece))

    async def spellings(
        self, client: Client, tokens: Sequence[int]
    ) -> dict[int, frozenset[Reading]]:
        """Returns the readings of tokens.

        Raises:
            TeacherError: Neither a tokenizer here nor the server knows them.
        """
        if self.name:
            self.load()
        unknown = [token for token in tokens if token not in self._spelt]
        if unknown and self._here is not None:
            self._spelt |= spellings(self._here, unknown)
        elif unknown:
            self._spelt |= dict(
                zip(
                    unknown,
                    await asyncio.gather(*(self._detokenized(client, one) for one in unknown)),
                    strict=True,
                )
            )
        return {token: self._spelt[token] for token in tokens}

    def shown(self, token: int) -> str:
        """Returns a token as a person reads it."""
        for reading in sorted(self._spelt.get(token, ()), key=lambda one: not one.spaced):
            return " " * reading.spaced + reading.content.decode(errors="replace")
        if self._here is not None:
            return str(self._here.decode([token]))
        return f"token {token}"

    async def _first(self, client: ServerClient, text: str) -> tuple[str, Tokens | None]:
        """Asks as vLLM wants it, then as llama.cpp does, which ignores what it does not know."""
        refusal: Refused | None = None
        for body in ("prompt", "content"):
            try:
                tokens = await self._tokens(client, body, text)
            except Refused as error:
                refusal = error
                continue
            if tokens is not None:
                return body, tokens
        if refusal is not None:
            raise TeacherError(
                f"the server at {client.root} refused to tokenize: {refusal}. {_ADVICE}"
            ) from refusal
        return "prompt", None

    async def _tokens(self, client: ServerClient, body: str, text: str) -> Tokens | None:
        """Returns the tokens of a text; None if the answer does not hold them."""
        sent: dict[str, Any] = (
            {"model": self._model, "prompt": text, "add_special_tokens": False}
            if body == "prompt"
            else {"content": text, "add_special": False, "with_pieces": True}
        )
        try:
            ids, pieces = read_token_ids(await client.post("/tokenize", sent))
        except ValueError:
            return None
        return Tokens(tuple(ids), tuple(pieces or ())) if ids or not text else None

    def _no_ids(self, client: ServerClient) -> TeacherError:
        return TeacherError(
            f"the server at {client.root} answered /tokenize with no token ids. {_ADVICE}"
        )

    async def _detokenized(self, client: Client, token: int) -> frozenset[Reading]:
        reason = "its answer holds no text"
        try:
            answer = await client.post(
                "/detokenize", {"model": self._model, "tokens": [token]}, retries=0
            )
            for name in ("prompt", "content"):
                if isinstance(answer, dict) and isinstance(answer.get(name), str):
                    return readings(answer[name])
        except (Refused, Lasting, NotFoundError, ValueError) as error:
            reason = client.clean(error.said if isinstance(error, NotFoundError) else str(error))
        raise TeacherError(
            f"the server at {client.root} names its tokens by their text, and cannot say the text "
            f"of token {token} ({reason}). {_ADVICE}"
        )
