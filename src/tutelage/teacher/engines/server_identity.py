"""What a server is, and what is remembered of it from run to run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from tutelage.teacher.engines.server_tokenizer import Tokens


class Memory(Protocol):
    """Keeps texts by name from run to run, beside the replies."""

    def recall(self, names: Sequence[str]) -> dict[str, str]:
        """Returns the texts of the names that have one."""
        ...

    def remember(self, texts: Mapping[str, str]) -> None:
        """Keeps texts by name."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells the replies of one server from those of another at the same address.

    Attributes:
        name: What the server calls its model, where that is not the configured name.
        scoring: "exact", "top-20" or another way; "none" if it cannot score.
        chat: The same for the answers of chats; "" if it takes no messages.
    """

    name: str
    scoring: str
    chat: str = ""

    def described(self, model: str) -> str:
        """Returns it for a message.

        Args:
            model: The configured name of the model.
        """
        chat = "" if self.chat in ("", self.scoring) else f", of chats: {self.chat}"
        return f"{self.name or model!r} (scores: {self.scoring}{chat})"


class Notebook:
    """What earlier runs found out about a server.

    Args:
        memory: Where it is kept; None to keep nothing.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory

    def identity(self, fingerprint: str) -> Identity | None:
        """Returns the identity of the server with this fingerprint; None if it was never asked."""
        (found,) = self._read([f"identity {fingerprint}"])
        try:
            name, scoring = str(found["name"]), str(found["scoring"])
            return Identity(name, scoring, str(found.get("chat", "")))
        except (KeyError, TypeError):
            return None

    def keep_identity(self, fingerprint: str, identity: Identity) -> None:
        """Writes the identity down."""
        self._write({f"identity {fingerprint}": identity})

    def tokens(self, fingerprint: str, texts: Sequence[str]) -> dict[str, Tokens]:
        """Returns the tokens of the texts that were tokenized before."""
        known = {}
        found = self._read([_place(fingerprint, text) for text in texts])
        for text, values in zip(texts, found, strict=True):
            with contextlib.suppress(KeyError, TypeError, ValueError):
                ids, pieces = values["ids"], values["pieces"]
                known[text] = Tokens(tuple(map(int, ids)), tuple(map(str, pieces)))
        return known

    def keep_tokens(self, fingerprint: str, tokens: Mapping[str, Tokens]) -> None:
        """Writes the tokens of texts down."""
        self._write({_place(fingerprint, text): found for text, found in tokens.items()})

    def _read(self, names: Sequence[str]) -> list[Any]:
        stored = self._memory.recall(names) if self._memory is not None else {}
        values: list[Any] = []
        for name in names:
            try:
                values.append(json.loads(stored.get(name, "null")))
            except ValueError:
                values.append(None)  # A damaged entry is asked again.
        return values

    def _write(self, found: Mapping[str, Identity | Tokens]) -> None:
        if self._memory is not None:
            self._memory.remember({name: json.dumps(asdict(one)) for name, one in found.items()})


def _place(fingerprint: str, text: str) -> str:
    # Another model under the same name has other ids, and another fingerprint.
    return f"tokens {fingerprint} {text}"
