"""Artefacts in generated texts: whatever a chat model writes around a text, or instead of one.

They come off where what remains is surely the text. Otherwise the reply has a fault, and its
candidate is rejected with this reason. The rules look at the form of a reply (a line that ends with
a colon above another line, a pair of tags, the name of a label before a colon) rather than at lists
of phrases, and leave sound texts as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from tutelage.characters import usable
from tutelage.methods.generation.chatter import (
    ends_open,
    is_preamble,
    is_refusal,
    preamble_end,
    remark_start,
)
from tutelage.records import Label
from tutelage.teacher.marks import unmarked

JSON, TAGS, MARKDOWN, PREAMBLE = "JSON", "tags", "Markdown", "preamble"
LABEL, PROMPT, REFUSAL, REMARK, COLON = "label", "prompt", "refusal", "remark", "colon"

ARTEFACTS = "artefacts"
"""Key of a row's detail: the kinds of artefacts in its reply, removed ones included."""
NO_TEXT = "no text: "
"""Begins the reason of a candidate that was rejected for its artefacts."""

_PASSES = 8
"""Passes over a reply; one that still changes is not to be trusted."""
_NEAR = 120
"""Characters at either end of a text in which a label is searched for."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A reply without its artefacts.

    Attributes:
        text: The text; the first line of the reply if there is none.
        removed: The kinds of artefacts that were found, each once.
        fault: Why there is no text; "" if there is one.
    """

    text: str
    removed: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a text was asked for with, and may repeat.

    Attributes:
        labels: Names of labels, as returned by :func:`label_keys`.
        prompt: The prompt.
        frame: The lines of the prompt that show no demonstration, see :func:`frame_of`.
        usual: The kinds of artefacts that belong to texts of this data, see :func:`usual_in`.
    """

    labels: frozenset[str] = frozenset()
    prompt: str = ""
    frame: tuple[str, ...] = ()
    usual: frozenset[str] = frozenset()


def usual_in(texts: Iterable[str], labels: frozenset[str]) -> frozenset[str]:
    """Returns the kinds of artefacts in texts that are data: there they are none.

    Args:
        texts: The texts shown to the teacher.
        labels: Names of labels, as returned by :func:`label_keys`.
    """
    around = Surroundings(labels)
    return frozenset(kind for text in texts for kind in strip_artefacts(text, around).removed)


def label_keys(labels: Iterable[Label]) -> frozenset[str]:
    """Returns the names, words and descriptions of labels in a form for comparisons."""
    names = (name for one in labels for name in (one.name, one.word, one.description))
    return frozenset(key for name in names if (key := _key(name)))


def frame_of(prompt: str, demonstrations: Collection[str]) -> tuple[str, ...]:
    """Returns the lines of a prompt that show no demonstration and have three words or more.

    Args:
        prompt: The prompt.
        demonstrations: The texts shown in it.
    """
    shown = [start for text in demonstrations if (start := " ".join(text.split())[:_NEAR])]
    lines = (clean(line) for line in prompt.splitlines())
    return tuple(
        line for line in lines if line.count(" ") > 1 and not any(one in line for one in shown)
    )


# List marks such as "-", "2." or "(3)", which completions of a list repeat.
_NUMBERING = re.compile(r"\s*(?:(?:[-*•]|\(?\d{1,2}[.):])\s+|\d{1,2}、\s*)")
_QUOTES = "\"'“”‘’«»„`「」『』"


def clean(text: str) -> str:
    """Strips list marks and surrounding quotes from the first non-empty line of a completion."""
    line = " ".join(next((line for line in text.splitlines() if line.strip()), "").split())
    start, end = 0, len(line)
    # Repeated, for marks inside quotes, quotes behind marks, and double marks.
    while True:
        if mark := _NUMBERING.match(line, start, end):
            start = mark.end()
        elif end - start > 1 and line[start] in _QUOTES and line[end - 1] in _QUOTES:
            start, end = start + 1, end - 1
            # Words are one space apart.
            start += start < end and line[start] == " "
            end -= start < end and line[end - 1] == " "
        else:
            return line[start:end]


def strip_artefacts(reply: str, around: Surroundings | None = None) -> Cleaned:
    """Takes artefacts off a reply that should be one text on one line.

    Args:
        reply: The reply of a teacher.
        around: The labels and the prompt, which a reply may repeat.

    Returns:
        The text; a sound reply is only cleaned (:func:`clean`).
    """
    work = _Reply(reply, around or Surroundings())
    # One artefact may stand inside another one.
    for _ in range(_PASSES):
        before = work.text
        _follow(_RULES_OF_REPLIES, work)
        work.text = clean(work.text)
        _follow(_RULES_OF_LINES, work)
        work.text = clean(work.text)
        if work.fault or work.text == before:
            break
    else:
        work.fault = "artefacts within artefacts"
    if not work.fault and ends_open(work.text) and COLON not in work.around.usual:
        work.reject(COLON, "ends with a colon")
    return Cleaned(clean(reply) if work.fault else work.text, tuple(work.removed), work.fault)


def strip_item(item: str, around: Surroundings) -> Cleaned:
    """Takes artefacts off a text of a list, which may have several lines.

    Args:
        item: The text.
        around: The labels and the prompt, which it may repeat.

    Returns:
        The text with its lines.
    """
    lines = [" ".join(line.split()) for line in item.strip().splitlines()]
    cleaned = strip_artefacts(item, around)
    # The first line is cleaned; those behind it follow up to a remark about the text.
    first = next((place for place, line in enumerate(lines) if cleaned.text in line), len(lines))
    rest = list(takewhile(lambda line: remark_start(line) != 0, lines[first + 1 :]))
    if cleaned.fault or not rest:
        return cleaned
    return replace(cleaned, text="\n".join([cleaned.text, *rest]).rstrip())


def strip_continuation(reply: str, usual: Collection[str] = ()) -> Cleaned:
    """Takes artefacts off a reply that continues the first words of a text.

    They come off behind the text alone: before it, the words would continue something else.

    Args:
        reply: The reply of a teacher.
        usual: The kinds of artefacts that belong to texts of this data.

    Returns:
        The continuation with its white space; a sound reply as it is.
    """
    found = unmarked(reply, usual)
    fault = found.fault
    if not fault and not reply.startswith(found.text):
        fault = f"{found.removed[0]} before the text"
    if not fault and is_refusal(found.text.strip()):
        return Cleaned(reply, (*found.removed, REFUSAL), "a refusal")
    return Cleaned(reply if fault else found.text, found.removed, fault)


_NO_WORDS = re.compile(r"[\W_]*+\d{0,2}+[\W_]*+")
"""At most the number of a list."""


@dataclass(slots=True)
class _Reply:
    """A reply in work."""

    text: str
    around: Surroundings
    removed: list[str] = field(default_factory=list)
    fault: str = ""

    def keep(self, kind: str, text: str) -> None:
        """Notes an artefact and goes on with the rest, which must not be empty."""
        self._note(kind)
        if _NO_WORDS.fullmatch(text):
            self.fault = f"{kind} without a text"
        else:
            self.text = text

    def reject(self, kind: str, fault: str) -> None:
        self._note(kind)
        self.fault = fault

    def _note(self, kind: str) -> None:
        if kind not in self.removed:
            self.removed.append(kind)


_Rule = tuple[str, Callable[[_Reply], None]]


def _follow(rules: Iterable[_Rule], reply: _Reply) -> None:
    for kind, rule in rules:
        if not reply.fault and kind not in reply.around.usual:
            rule(reply)


# The rules: each takes one kind of artefact off a reply, or gives the reply a fault.


def _without_prompt(reply: _Reply) -> None:
    """A server may send the prompt back (echo), and a model may repeat one of its lines."""
    prompt, text = reply.around.prompt.strip(), reply.text.lstrip()
    if prompt and text.startswith(prompt):
        reply.keep(PROMPT, text[len(prompt) :])
        return
    first, _, others = text.partition("\n")
    line = clean(first)
    for asked in reply.around.frame:
        if line.startswith(asked):
            if ends_open(asked):
                reply.keep(PROMPT, f"{line[len(asked) :]}\n{others}")
            else:
                reply.reject(PROMPT, "repeats the prompt")
            return


def _without_marks(reply: _Reply) -> None:
    found = unmarked(reply.text, reply.around.usual)
    for kind in found.removed:
        reply.keep(kind, found.text)
    if found.fault:
        reply.fault = found.fault


_FIELDS = tuple(
    "text sentence example utterance query request message review question headline tweet "  # noqa: SIM905
    "paraphrase rewritten content output response result answer title name".split()
)
_JSON = re.compile(rf"""[{{\[]\s*(?:["'{{\[\]}}]|\Z)|"(?:{"|".join(_FIELDS)})"\s*:""", re.I)
# A field without its braces, or an object that ends behind it.
_FIELD = re.compile(r"""[\s{\[]*"(\w+)"\s*:\s*("(?:[^"\\]|\\.)*")[\s,}\]]*""")


def _without_json(reply: _Reply) -> None:
    text = reply.text.strip()
    if not _JSON.match(text):
        return
    try:
        if field := _FIELD.fullmatch(text):
            found = json.loads(field[2])
        else:
            # What follows the first value is another one, or a remark.
            found = _text_of(json.JSONDecoder().raw_decode(text)[0])
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, str):
        # Escapes may stand for characters that no file can hold.
        reply.keep(JSON, usable(found))
    else:
        reply.reject(JSON, "JSON without a text")


def _text_of(value: Any) -> Any:
    """The text of a JSON value: of a list the first one, of an object the field for it."""
    for _ in range(_PASSES):
        if isinstance(value, list):
            value = value[0] if value else None
        elif isinstance(value, dict):
            known = {name.casefold(): one for name, one in value.items()}
            only = next(iter(value.values())) if len(value) == 1 else None
            value = next((known[name] for name in _FIELDS if name in known), only)
        else:
            break
    return value


_TAG = re.compile(rf"</?({'|'.join(_FIELDS)})>", re.I)
_STYLED = re.compile(r"<(b|i|em|strong|p)>([^<>]*)</\1>", re.I)


def _without_tags(reply: _Reply) -> None:
    """Tags around a text, as in <example>…</example>; one of the two may be missing."""
    text = reply.text.strip()
    if styled := _STYLED.fullmatch(text):
        reply.keep(TAGS, styled[2])
        return
    first = _TAG.match(text)
    begin = first.end() if first else 0
    last = text.rfind("</")
    end = last if last >= begin and _TAG.fullmatch(text, last) else len(text)
    if end - begin < len(text):
        reply.keep(TAGS, text[begin:end])


_BOLD = re.compile(
    r"(?<![\w*])\*\*(?=[^\s*])([^*\n]{1,400})(?<=\S)\*\*(?![\w*])"
    r"|(?<![\w_])__(?=[^\s_])([^_\n]{1,400})(?<=\S)__(?![\w_])"
)
_WHOLE = re.compile(r"([*_])(?=[^\s*_])([^*_\n]*)(?<=\S)\1")
_HEADING = re.compile(r"\#{2,6}\s+|\#\s+(?!\d)|>\s+|\*\*(?=\w)")
_RULE = re.compile(r"(?:[-*_=]\s*){3,}")


def _without_markdown(reply: _Reply) -> None:
    text = _BOLD.sub(lambda bold: bold[1] or bold[2], reply.text)
    # Stars within the text leave those around it unpaired.
    if text.startswith("**") and text.endswith("**") and text[2:3].strip():
        text = text[2:-2]
    if heading := _HEADING.match(text):
        text = text[heading.end() :]
    if whole := _WHOLE.fullmatch(text):
        text = whole[2]
    if text.startswith("|") and text.endswith("|") and len(text) > 1:
        reply.reject(MARKDOWN, "a table")
    elif text != reply.text:
        reply.keep(MARKDOWN, text)


def _without_opening_lines(reply: _Reply) -> None:
    """Lines above the text: each ends with a colon, or says that a text follows."""
    lines = [line for line in reply.text.splitlines() if line.strip()]
    first = 0
    while first < len(lines) - 1 and _opens(lines[first].strip(), reply.around.labels):
        first += 1
    if first:
        reply.keep(PREAMBLE, "\n".join(lines[first:]))


def _opens(line: str, labels: Collection[str]) -> bool:
    marked = _HEADING.match(line) or _RULE.fullmatch(line)
    return bool(marked) or ends_open(line) or is_preamble(line) or _is_label(line, labels)


def _without_preamble(reply: _Reply) -> None:
    text = reply.text
    if is_preamble(text):
        reply.reject(PREAMBLE, "preamble without a text")
    elif end := preamble_end(text):
        reply.keep(PREAMBLE, text[end:])


_CUE = re.compile(r"\s*(?:label|class|category|topic|intent|answer|sentiment)\s*[:=]\s*", re.I)
_LABEL_BEGINS = re.compile(
    r"\s*(?:[(\[]([^()\[\]\n]{1,80})[)\]]\s*[:\-–—]?|([^:：|\n]{1,80})[:：|])\s*"
)
_LABEL_ENDS = re.compile(
    r"[(\[{]|-+>|=>|→|\||(?<!\w)(?=(?:Label|Class|Category|Topic|Intent|Answer)\s*[:=])"
)


def _without_label(reply: _Reply) -> None:
    """A label before the text or behind it: "Weather: …", "… (weather)", "… Label: weather"."""
    labels, text = reply.around.labels, reply.text
    if not labels:
        return
    if _is_label(text, labels):
        reply.reject(LABEL, "a label instead of a text")
        return
    start = 0
    while (found := _LABEL_BEGINS.match(text, start)) and found.end() < len(text):
        if _named(found[1] or found[2]) not in labels:
            break
        start = found.end()
    # Behind the text, the first place counts from which only a label follows.
    near = max(start, len(text) - _NEAR)
    ends = (found for found in _LABEL_ENDS.finditer(text, near) if found.start() > start)
    end = next((one.start() for one in ends if _named(text[one.end() :]) in labels), len(text))
    if end - start < len(text):
        reply.keep(LABEL, text[start:end])


def _is_label(line: str, labels: Collection[str]) -> bool:
    """Whether a line is a label's description, or a label behind a word for it."""
    key = _named(line[: 2 * _NEAR]) if len(line) < 2 * _NEAR else ""
    return key in labels and (key.count(" ") > 2 or bool(_CUE.match(line)))


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD = re.compile(r"[\W_]+")


def _key(name: str) -> str:
    return _NO_WORD.sub(" ", _CAMEL.sub(" ", name)).strip().casefold()


def _named(label: str) -> str:
    """The key of a label, without a word for it: "Topic: music"."""
    cue = _CUE.match(label)
    return _key(label[cue.end() :] if cue else label)


def _without_remarks(reply: _Reply) -> None:
    # A text may end before a remark about it.
    start = remark_start(reply.text)
    if start == 0:
        reply.reject(REMARK, "a remark instead of a text")
    elif start:
        reply.keep(REMARK, reply.text[:start])


def _no_refusal(reply: _Reply) -> None:
    if is_refusal(reply.text):
        reply.reject(REFUSAL, "a refusal")


_RULES_OF_REPLIES: tuple[_Rule, ...] = (
    (PROMPT, _without_prompt),
    ("", _without_marks),
    (JSON, _without_json),
    (TAGS, _without_tags),
    (PREAMBLE, _without_opening_lines),
)
_RULES_OF_LINES: tuple[_Rule, ...] = (
    (MARKDOWN, _without_markdown),
    (PREAMBLE, _without_preamble),
    (LABEL, _without_label),
    (REFUSAL, _no_refusal),
    (REMARK, _without_remarks),
)
"""Rules in the order of a pass, each with the kind that it takes off; "" for several kinds.

The first rules see a whole reply, and the others its first line.
"""
