"""How the reply cache writes one reply, and how it finds out that a stored one was damaged."""

from __future__ import annotations

import hashlib
import json

from tutelage.teacher.base import Reply
from tutelage.teacher.replies import read_reply

_SHOWN = 60


def written(reply: Reply) -> str:
    """Returns what is stored of a reply: all but its id, in ASCII."""
    return json.dumps(
        {
            "text": reply.text,
            "logprobs": reply.logprobs,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "finish_reason": reply.finish_reason,
        },
        separators=(",", ":"),
    )


def checksum(key: bytes, stored: bytes) -> bytes:
    """Returns 8 bytes that change with any change of a stored reply or its key."""
    return hashlib.blake2b(key + stored, digest_size=8).digest()


def read(key: bytes, stored: bytes, expected: object = None) -> Reply:
    """Reads a stored reply.

    Args:
        key: Its key.
        stored: Its text, as the file has it.
        expected: Its checksum; None for a reply from before there were checksums.

    Raises:
        ValueError: The reply was damaged. The message says how, and shows its beginning.
    """
    try:
        if expected is not None and checksum(key, stored) != expected:
            raise ValueError("its checksum differs")
        return read_reply(json.loads(stored.decode()))
    except (ValueError, RecursionError) as error:
        shown = stored[:_SHOWN].decode(errors="replace")
        raise ValueError(f"{shown!r} ({error})") from error
