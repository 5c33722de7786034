"""The commands that documents, configuration files and messages quote."""

from __future__ import annotations

import re
import shlex

_COMMAND = re.compile(r"tutelage (?:train|plan)\b([^`\n]*)")
_BENCHMARK = re.compile(r"(?:\.py\b|…|`)[^`\n]*?(?<=[ `])-- (\w[\w.@/]*=[^`\n]*)")
"""Overrides that a benchmark hands on to its runs, behind ``--``."""
_CODE_SPAN = re.compile(r"(?<!`)`(?!`)([^`]+)`(?!`)")


def unwrapped(text: str) -> str:
    """Joins the lines of wrapped commands: after a backslash (also in comments), and in code."""
    text = re.sub(r"\\\n#?\s*", " ", text)
    return _CODE_SPAN.sub(lambda span: f"`{' '.join(span[1].split())}`", text)


def commands_in(text: str) -> list[list[str]]:
    """The overrides of each quoted ``tutelage train`` or ``plan``, multiruns included.

    Words after three spaces, a comment or a dash are explanation. A placeholder stands for any
    value. Left out: commands with an ellipsis or an optional part, and those with a configuration
    folder of their own.
    """
    found = []
    for rest in _COMMAND.findall(unwrapped(text)):
        words = re.split(r"\s{3,}|\s+#|\s+[–—]\s", rest.rstrip(". ,)"))[0]
        if "…" in words or "[" in words.replace("=[", "") or words.strip().startswith("--"):
            continue
        found.append(_overrides(words))
    return found


def benchmark_overrides_in(text: str) -> list[list[str]]:
    """The overrides behind ``--`` of each quoted benchmark."""
    return [_overrides(rest) for rest in _BENCHMARK.findall(unwrapped(text)) if "…" not in rest]


def _overrides(words: str) -> list[str]:
    flags = ("\\", "--cfg", "job", "-m")
    return [
        word for word in shlex.split(re.sub(r"<[^>]*>", "anything", words)) if word not in flags
    ]
