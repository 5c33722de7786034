"""Renders chats with a model's own chat template.

Texts of the data are untrusted: a special token inside a message (``<|im_end|>``) stays text here,
and cannot end the message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tutelage.errors import ConfigError
from tutelage.teacher.base import Chat, Message

_SEPARATORS = tuple(map(chr, range(0xF0000, 0xF0010)))
"""Characters of private use, of which at least one is in no message."""

_DATE = "1 January 2026"


def has_template(tokenizer: Any) -> bool:
    """Returns whether a tokenizer has a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


def render_ids(tokenizer: Any, chat: Chat) -> list[int]:
    """Returns the token ids of a chat, up to where the reply begins.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        chat: The chat.

    Raises:
        ConfigError: The tokenizer has no chat template, or the template refuses the messages.
    """
    specials = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
    contents = "".join(message.content for message in chat.messages)
    separator = next(sign for sign in _SEPARATORS if sign not in contents)
    # A special token in a message is taken apart into its characters, so that the tokenizer does
    # not find it.
    marked = chat
    if found := [token for token in specials if token and token in contents]:
        pattern = re.compile("|".join(map(re.escape, found)))
        marked = Chat(
            tuple(
                Message(
                    message.role,
                    pattern.sub(lambda match: separator.join(match[0]), message.content),
                )
                for message in chat.messages
            ),
            chat.thinking,
        )
    pieces = render_text(tokenizer, marked).split(separator)
    rows = tokenizer(pieces, add_special_tokens=False)["input_ids"]
    return [int(token) for row in rows for token in row]


def render_text(tokenizer: Any, chat: Chat) -> str:
    """Returns a chat as the text that a model reads.

    Raises:
        ConfigError: The tokenizer has no chat template, or the template refuses the messages.
    """
    from jinja2.exceptions import TemplateError

    if not has_template(tokenizer):
        raise ConfigError(
            f"the model {getattr(tokenizer, 'name_or_path', '')} has no chat template, so it "
            "cannot be asked in messages. Use prompt=completion."
        )
    try:
        return _rendered(tokenizer, chat)
    except TemplateError as error:
        # Gemma's template knows no system message; its content can stand before the first question.
        if chat.messages and chat.messages[0].role == "system":
            try:
                return _rendered(tokenizer, _without_system(chat))
            except TemplateError:
                pass
        raise ConfigError(
            f"the chat template of {getattr(tokenizer, 'name_or_path', '')} refuses the messages: "
            f"{error}. Use prompt=completion."
        ) from error


def _rendered(tokenizer: Any, chat: Chat) -> str:
    text: str = tokenizer.apply_chat_template(
        [{"role": message.role, "content": message.content} for message in chat.messages],
        tokenize=False,
        add_generation_prompt=not chat.is_prefilled,
        continue_final_message=chat.is_prefilled,
        # Llama's template writes today's date otherwise, and no run could be repeated tomorrow.
        date_string=_DATE,
        # Names of the same switch in the templates of several families; others ignore them.
        enable_thinking=bool(chat.thinking),
        thinking=bool(chat.thinking),
    )
    return text


def _without_system(chat: Chat) -> Chat:
    system, *rest = chat.messages
    if not rest:
        return Chat((Message("user", system.content),), chat.thinking)
    first = Message(rest[0].role, f"{system.content}\n\n{rest[0].content}")
    return Chat((first, *rest[1:]), chat.thinking)


def answers_messages(tokenizer: Any, ends: Sequence[int]) -> bool:
    """Returns whether a model was trained to answer messages.

    Base models often carry the chat template of their instruct model too, but do not end a text
    with the token that ends a message of the template.

    Args:
        tokenizer: The model's tokenizer.
        ends: Ids of the tokens that end the model's texts.
    """
    if not has_template(tokenizer):
        return False
    try:
        reply = "+"
        chat = Chat((Message("user", "?"), Message("assistant", reply)))
        before = render_text(tokenizer, chat)
        whole: str = tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in chat.messages],
            tokenize=False,
        )
    except (ConfigError, ValueError):
        return False
    # The first token after the reply ends the message.
    after = whole[len(before) :] if whole.startswith(before) else whole.rpartition(reply)[2]
    ids = tokenizer(after, add_special_tokens=False)["input_ids"]
    return bool(ids) and int(ids[0]) in ends
