"""CoNLL column files: one word per line with its tag, and an empty line after each sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tutelage.errors import ConfigError, DataError
from tutelage.tasks.markings import checked_word
from tutelage.tasks.spans import from_tags

_SPACES = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a column file.

    Attributes:
        words: Its words.
        tags: One tag per word; None in a file with a single column.
        location: File and line of the first word, for messages ("train.conll:12").
    """

    words: list[str]
    tags: list[str] | None
    location: str


def read_sentences(
    where: str, text: str, word_number: int = 0, tag_number: int = -1
) -> list[Sentence]:
    """Split a column file into sentences.

    Columns are separated by tabs if the line contains any, else by spaces. -DOCSTART- lines are
    skipped, and so are comments: lines that begin with "#" and are no row, because their number of
    columns differs from the other lines or because they have no valid tag. "#tag O" is a row. A
    file with a single column has no tags.

    Args:
        where: Name of the file, for messages.
        text: Contents of the file.
        word_number: Index of the word column; negative values count from the last column, -1.
        tag_number: Index of the tag column, likewise.

    Raises:
        DataError: If a line differs from the first one in its number of columns, a column does not
            exist, or its content is not a word or a tag.
        ConfigError: If both numbers select the same column.
    """
    # The first row determines the number of columns. Not splitlines(): it also splits at
    # characters that are legal inside a word.
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
            f"data.word_column_number={word_number} and data.tag_column_number={tag_number} "
            f"select the same one of the {width} columns of {where}. Set them to different columns."
        )
    sentences: list[Sentence] = []
    begun: Sentence | None = None
    for number, line in lines:
        if _is_comment(line, width, tag_number):
            continue
        # A blank line or a document boundary ends the sentence.
        if not line or line[0].startswith("-DOCSTART-"):
            begun = None
            continue
        location = f"{where}:{number}"
        if width and len(line) != width:
            raise DataError(
                f"{location}: {_count(len(line))}, but line {first_line} has {width}; "
                f"it reads {' '.join(line)[:60]!r}. Give every word the same number of columns, "
                "separated by tabs if a word contains a space."
            )
        word = checked_word(location, _cell(location, line, "word", word_number))
        if begun is None:
            sentences.append(begun := Sentence([], [] if tagged else None, location))
        begun.words.append(word)
        if begun.tags is not None:
            begun.tags.append(_tag(location, _cell(location, line, "tag", tag_number)))
    return sentences


def _columns(line: str) -> list[str]:
    if not line.strip():
        return []
    if "\t" in line:
        return [cell.strip() for cell in line.rstrip().split("\t")]
    # Split at spaces and tabs only: other white space may be part of a word.
    return _SPACES.split(line.strip(" \r"))


def _may_be_comment(line: list[str]) -> bool:
    return line[0].startswith(("#", "-DOCSTART-"))


def _is_comment(line: list[str], width: int, tag_number: int) -> bool:
    """Whether a line that begins with "#" is a comment.

    Read as a row, it would have more or fewer columns than ``width``, or no valid tag.
    """
    if not line or not line[0].startswith("#"):
        return False
    # "# " opens a comment by convention; otherwise the columns decide.
    if line[0].startswith("# ") or (width and len(line) != width):
        return True
    try:
        if width != 1:
            _tag("", _cell("", line, "tag", tag_number))
    except DataError:
        return True
    return False


def _cell(location: str, line: list[str], what: str, number: int) -> str:
    try:
        return line[number]
    except IndexError:
        raise DataError(
            f"{location}: {_count(len(line))}, so there is none with "
            f"data.{what}_column_number={number} (the first is 0, the last -1); "
            f"it reads {' '.join(line)[:60]!r}. Change the number."
        ) from None


def _tag(location: str, tag: str) -> str:
    try:
        from_tags([tag])
    except DataError as error:
        raise DataError(
            f"{location}: {error} "
            "Correct the line, or set data.tag_column_number= to the column of the tags."
        ) from None
    return tag


def _count(columns: int) -> str:
    return "1 column" if columns == 1 else f"{columns} columns"
