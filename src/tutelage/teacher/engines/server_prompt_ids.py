"""Token ids of prompts: from a tokenizer here, the server or an earlier run, or estimated."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.base import Chat, Prompt, prompt_content
from tutelage.teacher.engines.server_chat import ChatForm
from tutelage.teacher.engines.server_client import ServerClient
from tutelage.teacher.engines.server_errors import NotFoundError
from tutelage.teacher.engines.server_identity import Notebook
from tutelage.teacher.engines.server_tokenizer import ServerTokenizer, Tokens

_Asked = TypeVar("_Asked", str, Chat)


@dataclass(frozen=True, slots=True)
class PromptIds:
    """Finds the token ids of prompts.

    Attributes:
        tokenizer: The tokenizer of the model, here or on the server.
        notebook: What earlier runs found out.
        fingerprint: The teacher's fingerprint, under which ids are remembered.
        chat: How the answers of chats are scored (:attr:`Identity.chat`); "" if the server takes no
            messages.
        form: The form of chat requests.
        root: Address of the server, for messages.
        run: Opens a client for what asks the server.
        note: Called with each limitation as it is found.
    """

    tokenizer: ServerTokenizer
    notebook: Notebook
    fingerprint: str
    chat: str
    form: ChatForm
    root: str
    run: Callable[[Callable[[ServerClient], Awaitable[None]]], None]
    note: Callable[[str], None]

    def of(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the ids of each prompt, without special tokens.

        Raises:
            TeacherError: Neither a tokenizer here nor the server knows them.
        """
        different = dict.fromkeys(prompts)
        texts = [one for one in different if isinstance(one, str)]
        chats = [one for one in different if isinstance(one, Chat)]
        rows: dict[Prompt, list[int]] = {}
        if texts:
            rows |= zip(texts, self._of_texts(texts), strict=True)
        if chats:
            rows |= zip(chats, self._of_chats(chats), strict=True)
        return [list(rows[one]) for one in prompts]

    def _of_texts(self, texts: Sequence[str]) -> list[list[int]]:
        if not self.tokenizer.is_here:
            try:
                return self._asked(texts, self.tokenizer.ask)
            except NotFoundError:
                pass  # Any other failure is an error.
        try:
            self.tokenizer.load(self.root)
        except (ConfigError, TeacherError):
            if not self.chat:
                raise
            return self._estimated({text: self.tokenizer.estimate(text) for text in texts})
        return self.tokenizer.ids(texts)

    def _of_chats(self, chats: Sequence[Chat]) -> list[list[int]]:
        """Returns the ids of chats; a prefill is one number where labels have no tokens."""
        if self.chat.startswith(("agreement", "decisions")):
            return self._with_stand_ins(chats)
        try:
            if not self.tokenizer.is_here:
                return self._asked(
                    chats,
                    lambda client, missing: self.tokenizer.ask_chats(client, missing, self.form),
                )
        except NotFoundError:
            try:
                self.tokenizer.load(self.root)
            except (ConfigError, TeacherError):
                # Only token ids can be asked for their probabilities.
                if self.chat == "exact":
                    raise
                return self._with_stand_ins(chats)
        self.tokenizer.load(self.root)
        return [self.tokenizer.chat_ids(chat) for chat in chats]

    def _with_stand_ins(self, chats: Sequence[Chat]) -> list[list[int]]:
        self.note(
            f"labels are found by their words in the replies of {self.root}, and lengths of texts "
            "are estimated"
        )
        return self._estimated({chat: self.tokenizer.estimate_chat(chat) for chat in chats})

    def _estimated(self, rows: Mapping[_Asked, list[int]]) -> list[list[int]]:
        """Remembers numbers that stand for tokens, and returns them."""
        found = {_name(prompt): Tokens(tuple(ids)) for prompt, ids in rows.items()}
        self.notebook.keep_tokens(self.fingerprint, found)
        return list(rows.values())

    def _asked(
        self,
        prompts: Sequence[_Asked],
        ask: Callable[[ServerClient, Sequence[_Asked]], Awaitable[list[Tokens]]],
    ) -> list[list[int]]:
        """Returns what earlier runs asked, and asks the server for the rest."""
        names = {prompt: _name(prompt) for prompt in prompts}
        known = self.notebook.tokens(self.fingerprint, list(names.values()))
        for prompt, name in names.items():
            if isinstance(prompt, str) and name in known:
                self.tokenizer.learn(prompt, known[name])
        missing = [prompt for prompt, name in names.items() if name not in known]
        rows: list[Tokens] = []

        async def tokenize(client: ServerClient) -> None:
            rows.extend(await ask(client, missing))

        if missing:
            self.run(tokenize)
            found = {names[prompt]: row for prompt, row in zip(missing, rows, strict=True)}
            self.notebook.keep_tokens(self.fingerprint, found)
            known |= found
        return [list(known[names[prompt]].ids) for prompt in prompts]


def _name(prompt: Prompt) -> str:
    """Returns the name under which the tokens of a prompt are remembered."""
    return prompt if isinstance(prompt, str) else f"chat {json.dumps(prompt_content(prompt))}"
