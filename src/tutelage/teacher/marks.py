"""Marks around the answer in a reply: chat templates, thinking and code fences.

A completion engine hands these out as plain text. They come off where one part of the reply is
surely the answer; otherwise the reply has a fault.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

THINKING, TEMPLATE, FENCE = "thinking", "chat template", "code fence"


@dataclass(frozen=True, slots=True)
class Unmarked:
    """A reply without its marks.

    Attributes:
        text: The answer; the whole reply if it has no mark, or if it has a fault.
        removed: The kinds of marks that were found.
        fault: Why no part of the reply is surely the answer; "" if one is.
    """

    text: str
    removed: tuple[str, ...] = ()
    fault: str = ""


# <think>, [THINK] and ◁think▷, as models of different families write them.
_THOUGHT = re.compile(
    r"<(/?)(?i:think|thinking|thoughts?|reasoning|reflection|scratchpad|seed:think)>"
    r"|\[(/?)THINK\]"
    r"|◁(/?)think▷"
)
# gpt-oss thinks in one channel and answers in another one. Without its special tokens,
# "analysis…assistantfinal…" remains.
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+).{0,60}?<\|message\|>")
_BARE_CHANNEL = re.compile(r"\s*analysis(?=[A-Z])")

_ROLE = r"(?:system|user|human|assistant|model|tool|bot)"
_MARK = re.compile(
    # ChatML, Llama 3, Phi, Command R: <|im_end|>, perhaps cut short at the end. DeepSeek has
    # full-width bars, EXAONE [|…|].
    rf"<\|[^<>|\n]{{1,40}}\|>(?:\s*{_ROLE}\b:?(?:<\|end_header_id\|>)?)?"
    rf"|<\|[^<>|\n]{{0,40}}\|?\Z"
    rf"|<｜[^<>｜\n]{{1,40}}｜>"
    rf"|\[\|[^\[\]|\n]{{1,40}}\|\]"
    # Gemma, Llama 2, Mistral, and the ends of a text.
    rf"|<start_of_turn>(?:\s*{_ROLE}\b)?|<end_of_(?:turn|utterance|text)>"
    rf"|\[/?(?:INST|SYSTEM_PROMPT|USER|ASSISTANT)\]|<</?SYS>>"
    rf"|</?s>|<(?:bos|eos|pad|unk|EOT|eot_id|endoftext)>"
    # Alpaca's headings and Vicuna's roles, at the start of a line.
    r"|^[ \t]*\#{2,4}[ \t]*(?:Response|Instruction|Input|Output|Assistant|Human|User|System"
    r"|Question|Answer|Prompt)\b:?"
    r"|^[ \t]*(?:(?:AI )?Assistant|User|Human|System|Chatbot|ASSISTANT|USER|HUMAN|SYSTEM)[ \t]*:",
    re.MULTILINE,
)
_ASKED = re.compile(r"user|human|system|\[INST|<</?SYS|instruction|input|question|prompt", re.I)
_ENDED = re.compile(r"end|eot|eos|eom|return|</s", re.I)
_ROLES = ("", "system", "user", "human", "assistant", "model", "tool", "bot")
# "assistant" or "model" on a line of its own: a header whose special tokens were left out.
_HEADER = re.compile(r"\s*(?:assistant|model)[ \t]*\n")

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w+-]*[ \t]*$", re.MULTILINE)
_LANGUAGE = re.compile(r"```(?:(?:json|text|txt|plaintext|markdown|md)\b)?\s*", re.I)


def unmarked(reply: str, usual: Collection[str] = ()) -> Unmarked:
    """Takes the marks of thinking, of a chat template and of a code block off a reply.

    Args:
        reply: The reply of a teacher.
        usual: Kinds of marks that belong to the answer and stay.

    Returns:
        The answer with the kinds of the marks around it.
    """
    text, removed = reply, []
    for kind, part in (
        (THINKING, _after_thinking),
        (TEMPLATE, _own_turn),
        (FENCE, _inside_fence),
    ):
        if kind in usual or (found := part(text)) == text:
            continue
        removed.append(kind)
        if found is None or not found.strip():
            return Unmarked(reply, tuple(removed), f"{kind} without an answer")
        text = found
    return Unmarked(text, tuple(removed))


def _after_thinking(text: str) -> str | None:
    """The text without thoughts; None if they do not end."""
    # Channels come first: their marks belong to the template, too.
    channels = list(_CHANNEL.finditer(text))
    if channels:
        if channels[-1][1] == "final":
            return text[channels[-1].end() :]
        return None
    if _BARE_CHANNEL.match(text) and "assistantfinal" in text:
        return text.rpartition("assistantfinal")[2]

    thoughts = list(_THOUGHT.finditer(text))
    if not thoughts:
        return text
    # An answer follows the last thought, or precedes the first one. What precedes a lone end is a
    # thought, too: the prompt had its beginning.
    ends = [mark for mark in thoughts if any(mark.groups())]
    if ends:
        begin = ends[-1].end()
        after = text[begin : next((one.start() for one in thoughts if one.start() >= begin), None)]
        if after.strip():
            return after
    if any(thoughts[0].groups()):
        return None
    return text[: thoughts[0].start()]


def _own_turn(text: str) -> str | None:
    """The assistant's turn; None if there is none."""
    if header := _HEADER.match(text):
        return text[header.end() :]
    marks = list(_MARK.finditer(text))
    if not marks:
        return text
    # Whatever stands before the first mark continues the prompt itself.
    before = text[: marks[0].start()]
    if before.strip() not in _ROLES:
        return before
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    pairs = [(mark, text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]
    turns = [(mark, turn) for mark, turn in pairs if turn.strip() not in _ROLES]
    own = next((turn for mark, turn in turns if not _ASKED.search(mark[0])), None)
    if own is not None or len(turns) != 1:
        return own
    # A single turn under a user's mark is the answer, unless an empty answer ended before it.
    (mark, turn) = turns[0]
    ended = any(_ENDED.search(one[0]) for one in marks if one.start() < mark.start())
    return None if ended else turn


def _inside_fence(text: str) -> str:
    """The content of the first code block; what precedes an empty one."""
    fences = list(_FENCE.finditer(text))
    if not fences:
        # On a line of its own: "```play the blues```".
        line = text.strip()
        if opening := _LANGUAGE.match(line):
            return line[opening.end() :].removesuffix("```")
        return text
    end = fences[1].start() if len(fences) > 1 else len(text)
    inside = text[fences[0].end() : end]
    return inside if inside.strip() else text[: fences[0].start()]


def stopped(reply: str, stops: Sequence[str]) -> str:
    """Ends the answer in a reply at its first stop string, which may stand in thoughts as well.

    Args:
        reply: The reply, with its thoughts in front.
        stops: The strings that end an answer.
    """
    thoughts = list(_THOUGHT.finditer(reply))
    if thoughts and not any(thoughts[-1].groups()):
        return reply  # The thoughts do not end.
    begin = thoughts[-1].end() if thoughts else 0
    # A line's end between the thoughts and the answer ends neither.
    begin += len(reply[begin:]) - len(reply[begin:].lstrip()) if thoughts else 0
    found = [at for stop in stops if (at := reply.find(stop, begin)) >= 0]
    return reply[: min(found)] if found else reply


_CONTROL = re.compile(
    r"<(?=\|[^<>|\n]{1,40}\|>|｜[^<>｜\n]{1,40}｜>|/?s>|(?:start|end)_of_(?:turn|utterance|text)>"
    r"|(?:bos|eos|pad|unk|EOT|eot_id|endoftext)>)"
)
_BRACKETS = re.compile(r"\[(?=/?(?:INST|SYSTEM_PROMPT)\]|\|[^\[\]|\n]{1,40}\|\])")


def defused(text: str) -> str:
    """Returns a text of the data in which no model finds a control token.

    A space is put into marks such as ``<|im_end|>``, so that a tokenizer takes them as text.
    """
    return _BRACKETS.sub("[ ", _CONTROL.sub("< ", text))
