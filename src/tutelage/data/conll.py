"""CoNLL column files: one word per line with its tag, and an empty line after each sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.errors import ConfigError, DataError
from tutelage.tasks.markings import checked_word
from tutelage.tasks.spans import from_tags

_SPACES = re.compile(r"[ \t]+")

_TAG_SETTING = "data.tag_column_number="

_LONG = 250
"""Number of words from which a sentence is suspicious."""
_TOO_LONG = 500
"""Number of words of a sentence that no student sees whole."""
_ONE_SENTENCE = 100
"""Number of words from which a file of a single sentence lacks empty lines."""


_NUMBERS = 0.9
"""Share of a column that must be whole numbers to count as numbers of words or sentences."""


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
    where: str,
    text: str,
    word_number: int = 0,
    tag_number: int | None = -1,
    word_setting: str = "data.word_column_number=",
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
        tag_number: Index of the tag column, likewise; None reads the words only.
        word_setting: Setting or option of the word column, up to its value, for messages.

    Raises:
        DataError: If a line differs from the first one in its number of columns, a column does not
            exist, its content is not a word or a tag, or the words are numbers while another
            column has words.
        ConfigError: If both numbers select the same column.
    """
    # The first row determines the number of columns. Not splitlines(): it also splits at
    # characters that are legal inside a word.
    lines = [(number, _columns(line)) for number, line in enumerate(text.split("\n"), start=1)]
    width, first_line = next(
        ((len(line), number) for number, line in lines if line and not _may_be_comment(line)),
        (0, 0),
    )
    tagged = width != 1 and tag_number is not None
    if (
        tag_number is not None
        and tagged
        and len({number if number >= 0 else number + width for number in (word_number, tag_number)})
        == 1
    ):
        raise ConfigError(
            f"data.word_column_number={word_number} and data.tag_column_number={tag_number} "
            f"select the same one of the {width} columns of {where}. Set them to different columns."
        )
    sentences: list[Sentence] = []
    read: list[list[str]] = []
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
        word = checked_word(location, _cell(location, line, word_setting, word_number))
        if begun is None:
            sentences.append(begun := Sentence([], [] if tagged else None, location))
        begun.words.append(word)
        read.append(line)
        if begun.tags is not None:
            cell = _cell(location, line, _TAG_SETTING, tag_number or 0)
            begun.tags.append(_tag(location, cell))
    _refuse_numbers(where, read, word_number, tag_number, word_setting)
    return sentences


def _refuse_numbers(
    where: str,
    lines: Sequence[Sequence[str]],
    word_number: int,
    tag_number: int | None,
    word_setting: str,
) -> None:
    """Refuse a column of numbers as words if another column has words."""
    width = len(lines[0]) if lines else 0
    if width < 2 or not _are_numbers([line[word_number] for line in lines]):
        return
    for column in range(width):
        cells = [line[column] for line in lines]
        tags = all(map(_is_tag, set(cells))) if tag_number is None else column == tag_number % width
        if column != word_number % width and not tags and not _are_numbers(cells):
            raise DataError(
                f"{where}: column {word_number} has hardly anything but whole numbers "
                f"({', '.join(line[word_number] for line in lines[:3])}, …), as for numbers of "
                f"words or sentences, but column {column} has words "
                f"({', '.join(cells[:3])}, …). Set {word_setting}{column}"
            )


def _are_numbers(cells: Sequence[str]) -> bool:
    return sum(cell.isdecimal() for cell in cells) >= _NUMBERS * len(cells)


def check_lengths(where: str, sentences: Sequence[Sentence]) -> list[str]:
    """Look for sentences so long that the empty lines between them must be missing.

    Args:
        where: Name of the file, for messages.
        sentences: Its sentences.

    Returns:
        Warnings for the user.

    Raises:
        DataError: If the whole file is one long sentence, or most words are in such sentences.
    """
    longest = max(sentences, key=lambda one: len(one.words), default=None)
    if longest is None or len(longest.words) < _ONE_SENTENCE:
        return []
    advice = "Put an empty line after each sentence."
    said = f"the one that begins at {longest.location} has {len(longest.words):,} words"
    if len(sentences) == 1:
        raise DataError(f"{where} has no empty line between sentences: {said}. {advice}")
    words = sum(len(one.words) for one in sentences)
    in_long = sum(len(one.words) for one in sentences if len(one.words) > _TOO_LONG)
    if in_long > words / 2:
        raise DataError(
            f"{where} lacks empty lines: {in_long:,} of its {words:,} words are in sentences of "
            f"more than {_TOO_LONG}; {said}. {advice}"
        )
    long = sum(len(one.words) > _LONG for one in sentences)
    if not long:
        return []
    return [
        f"{where}: {long} of {len(sentences):,} sentences have more than {_LONG} words; {said}. "
        f"Empty lines are perhaps missing. {advice}"
    ]


def looks_tagged(text: str) -> bool:
    """Whether a text file has a word and its tag in each line rather than a text per line."""
    rows = [row for line in text.split("\n") if (row := _columns(line))]
    rows = [row for row in rows if not _may_be_comment(row)]
    return bool(rows) and all(len(row) > 1 and _is_tag(row[-1]) for row in rows)


def _columns(line: str) -> list[str]:
    if not line.strip():
        return []
    if "\t" in line:
        return [cell.strip() for cell in line.rstrip().split("\t")]
    # Split at spaces and tabs only: other white space may be part of a word.
    return _SPACES.split(line.strip(" \r"))


def _may_be_comment(line: list[str]) -> bool:
    return line[0].startswith(("#", "-DOCSTART-"))


def _is_comment(line: list[str], width: int, tag_number: int | None) -> bool:
    """Whether a line that begins with "#" is a comment.

    Read as a row, it would have more or fewer columns than ``width``, or no valid tag.
    """
    if not line or not line[0].startswith("#"):
        return False
    # "# " opens a comment by convention; otherwise the columns decide.
    if line[0].startswith("# ") or (width and len(line) != width):
        return True
    if width == 1 or tag_number is None:
        return False
    try:
        return not _is_tag(_cell("", line, _TAG_SETTING, tag_number))
    except DataError:
        return True


def _cell(location: str, line: list[str], setting: str, number: int) -> str:
    try:
        return line[number]
    except IndexError:
        raise DataError(
            f"{location}: {_count(len(line))}, so there is none with "
            f"{setting}{number} (the first is 0, the last -1); "
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


def _is_tag(tag: str) -> bool:
    try:
        from_tags([tag])
    except DataError:
        return False
    return True


def _count(columns: int) -> str:
    return "1 column" if columns == 1 else f"{columns} columns"
