"""CoNLL column files: one word a line with its tag, and an empty line after each sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tutelage.data.markings import checked_word
from tutelage.errors import ConfigError, DataError
from tutelage.tasks.spans import from_tags

_SPACES = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words and their tags (None in a file of one column), and where the first one stands ("train.conll:12")."""

    words: list[str]
    tags: list[str] | None
    index: str


def read_sentences(
    where: str, text: str, word_number: int = 0, tag_number: int = -1
) -> list[Sentence]:
    """The sentences of a column file; columns are split at tabs where a line has them, else at spaces.

    Lines of -DOCSTART- and comments are passed over: those that begin with "#" and are no row, for want of the columns of the others or of
    a tag. "#tag O" is a word. A file of one column has no tags.

    Args:
        where: the file's name, for messages.
        word_number, tag_number: places of the columns; -1 is the last, -2 the one before it.

    Raises:
        DataError: a line has other columns than the first, or no such column, or what stands there is not a word or a tag.
        ConfigError: both numbers mean the same column.
    """
    # Not splitlines(): it also cuts at characters that a word may hold.
    lines = [(number, _columns(line)) for number, line in enumerate(text.split("\n"), start=1)]
    width, first_line = next(
        ((len(line), number) for number, line in lines if line and not _may_be_comment(line)),
        (0, 0),
    )
    tagged = width != 1
    if (
        tagged
        and len({number if number >= 0 else number + width for number in (word_number, tag_number)})
        == 1
    ):
        raise ConfigError(
            f"data.word_column_number={word_number} and data.tag_column_number={tag_number} are the same of the {width} columns of {where}. "
            "Set each to a column of its own."
        )
    sentences: list[Sentence] = []
    begun: Sentence | None = None
    for number, line in lines:
        if _is_comment(line, width, tag_number):
            continue
        if not line or line[0].startswith("-DOCSTART-"):
            begun = None
            continue
        index = f"{where}:{number}"
        if width and len(line) != width:
            raise DataError(
                f"{index}: {_count(len(line))} where line {first_line} has {width}; it reads {' '.join(line)[:60]!r}. Give every word as "
                "many columns, with tabs between them where a word holds a space."
            )
        word = checked_word(index, _cell(index, line, "word", word_number))
        if begun is None:
            sentences.append(begun := Sentence([], [] if tagged else None, index))
        begun.words.append(word)
        if begun.tags is not None:
            begun.tags.append(_tag(index, _cell(index, line, "tag", tag_number)))
    return sentences


def _columns(line: str) -> list[str]:
    if not line.strip():
        return []
    if "\t" in line:
        return [cell.strip() for cell in line.rstrip().split("\t")]
    return _SPACES.split(line.strip(" \r"))


def _may_be_comment(line: list[str]) -> bool:
    return line[0].startswith(("#", "-DOCSTART-"))


def _is_comment(line: list[str], width: int, tag_number: int) -> bool:
    """Whether a line that begins with "#" is a remark: read as a row it would have other columns than ``width``, or no tag."""
    if not line or not line[0].startswith("#"):
        return False
    if line[0].startswith("# ") or (width and len(line) != width):
        return True
    try:
        if width != 1:
            _tag("", _cell("", line, "tag", tag_number))
    except DataError:
        return True
    return False


def _cell(index: str, line: list[str], what: str, number: int) -> str:
    try:
        return line[number]
    except IndexError:
        raise DataError(
            f"{index}: {_count(len(line))}, so none is data.{what}_column_number={number} (the first is 0, the last -1); it reads "
            f"{' '.join(line)[:60]!r}. Set the number."
        ) from None


def _tag(index: str, tag: str) -> str:
    try:
        from_tags([tag])
    except DataError as error:
        raise DataError(
            f"{index}: {error} Mend the line, or set data.tag_column_number= to the column of the tags."
        ) from None
    return tag


def _count(columns: int) -> str:
    return "1 column" if columns == 1 else f"{columns} columns"
