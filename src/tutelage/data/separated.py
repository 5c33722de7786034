"""Files with one row per line and a separator between fields: csv and tsv.

A csv file has quoting; a tsv file has it only if its quotes can be nothing else.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tutelage.data.files import NoRowsError
from tutelage.data.headers import Names, refuse_lines_above, refuse_missing_header
from tutelage.errors import DataError, listed

_USUAL = {"csv": ",", "tsv": "\t"}
_OTHERS = {"csv": ";\t|", "tsv": ",;|"}
"""Separators to look for when the header has a single column."""
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^"\t\r\n]*))(\t|\r\n|\r|\n|\Z)')
"""One field of a tsv file with quoting, and what ends it."""

_LONGEST_FIELD = 2**24
"""Characters of a field when rows are streamed; more stand behind a quote that is never closed."""
_LOST = 0.25
"""Share of the rows swallowed by quoted fields above which a file is refused."""
_ALIKE = 0.8
"""Share of the lines of a quoted field that must look like rows."""


@dataclass(frozen=True, slots=True)
class _Row:
    """The fields of a row.

    Attributes:
        line: Number of its first line.
        values: Its fields.
        lines: Its lines, if it has several.
    """

    line: int
    values: list[str]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """How lines become fields.

    Attributes:
        separator: The separator between fields.
        quoted: Whether quotes enclose fields, as in csv.
        spaces: Whether spaces after a separator do not belong to the field.
        first: Number of the header's line.
    """

    separator: str
    quoted: bool
    spaces: bool
    first: int


@dataclass(frozen=True, slots=True)
class Separated:
    """The contents of a csv or tsv file.

    Attributes:
        header: Names of the columns.
        rows: Line number and fields of each row.
        warnings: What a user should be told about them.
        dialect: How its lines were read.
    """

    header: list[str]
    rows: list[tuple[int, list[str]]]
    warnings: list[str] = field(default_factory=list)
    dialect: Dialect = field(default_factory=lambda: Dialect(",", True, False, 1))


def read_separated(where: str, text: str, format: str, names: Names | None = None) -> Separated:
    """Read a csv or tsv file, whose first line names the columns.

    A separator other than the usual one is taken if it is the only one under which all rows have
    the columns of the header.

    Args:
        where: Name of the file, for messages.
        text: Its contents.
        format: "csv" or "tsv".
        names: Columns that the header should have; None accepts any header.

    Raises:
        DataError: If quotes are not closed, a row has more or fewer fields than the header, a
            column name is repeated, the header is missing or not in the first line, or quoted
            fields have swallowed many rows.
    """
    warnings: list[str] = []
    quoted = format == "csv"
    first, separator, text = _declared(text, _USUAL[format])
    try:
        header = _header(where, text, separator, first, quoted)
    except NoRowsError:
        raise
    except DataError:
        # Quoted names with another separator between them are no fields of the usual one.
        line = text.split("\n", 1)[0]
        if not any(_fits(where, text, other, first) for other in _OTHERS[format] if other in line):
            raise
        header = [line]
    if names is not None:
        refuse_lines_above(where, text, header, names, first)
    if len(header) == 1 and any(other in header[0] for other in _OTHERS[format]):
        separator, said = _other_separator(where, text, header[0], format, first)
        quoted = True
        warnings += said
    elif format == "tsv":
        quoted, said = _quoting_of_tsv(where, text)
        warnings += said
    rows, spaces, said = _table(where, text, separator, first, format, quoted)
    warnings += said
    header = [name.strip().lstrip("\ufeff") for name in rows[0].values]
    _check_names(where, first, header)
    if names is not None:
        refuse_missing_header(
            f"{where}:{first}", header, [row.values for row in rows[1:]], names, separator
        )
    warnings += _swallowed(where, rows[1:], len(header), separator)
    dialect = Dialect(separator, quoted, spaces, first)
    return Separated(header, [(row.line, row.values) for row in rows[1:]], warnings, dialect)


def stream_separated(
    where: str, lines: Iterator[str], format: str, header: Sequence[str], dialect: Dialect
) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each row of a file whose beginning has been read.

    Args:
        where: Name of the file, for messages.
        lines: All of its lines, with their ends.
        format: "csv" or "tsv".
        header: Names of the columns.
        dialect: How the beginning of the file was read.

    Raises:
        DataError: If quotes are not closed, or a row has more or fewer fields than the header.
    """
    for _ in range(dialect.first - 1):  # Excel's first line "sep=;"
        next(lines, None)
    with _long_fields(_LONGEST_FIELD):
        rows = _rows(where, lines, dialect.separator, dialect.first, dialect.quoted, dialect.spaces)
        next(rows, None)
        for row in rows:
            if len(row.values) != len(header):
                location = f"{where}:{row.line}"
                raise DataError(_uneven(location, row.values, header, format, dialect.quoted))
            yield row.line, row.values


def _declared(text: str, usual: str) -> tuple[int, str, str]:
    """Take away Excel's first line "sep=;".

    Returns:
        The number of the first line left, the separator, and the text left.
    """
    declared = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)
    return (2, declared[1], text[declared.end() :]) if declared else (1, usual, text)


def _table(
    where: str, text: str, separator: str, first: int, format: str, quoted: bool
) -> tuple[list[_Row], bool, list[str]]:
    """Read all rows, and check that each has as many fields as the header.

    Quotes that follow a separator and a space enclose a field if all rows can be read so, which
    the second value tells.
    """
    failed: DataError | None = None
    rows: list[_Row] = []
    try:
        rows = _even_rows(where, text, separator, first, format, quoted)
    except DataError as error:
        failed = error
    if not quoted or not re.search(re.escape(separator) + ' +"', text):
        spaced = []
    elif failed is None:
        spaced = [row for row in rows if any(map(_SPACED.fullmatch, row.values))]
    else:
        spaced = [_Row(_line_of_spaced(text, separator, first), [])]
    if spaced:
        try:
            tight = _even_rows(where, text, separator, first, format, quoted, spaces=True)
        except DataError:
            tight = []
        if failed is None:
            # A field may really hold a space and a quote, if quotes enclose both.
            same = {row.line for row in tight if not any(map(_SPACED.fullmatch, row.values))}
            spaced = [row for row in spaced if not tight or row.line in same]
        if tight and spaced:
            return (
                tight,
                True,
                [
                    f"{where}:{spaced[0].line}: a space stands before a quote; the quotes of such "
                    "fields were read as those of csv, and the space was left out. If the quotes "
                    "belong to the texts, write jsonl."
                ],
            )
    if failed is not None:
        raise failed
    if not spaced:
        return rows, False, []
    return (
        rows,
        False,
        [
            f"{where}:{spaced[0].line}: a field begins with a space and a quote, which were kept "
            f"as a part of it, as in {len(spaced)} rows. Remove the spaces after the separators if "
            "the quotes only enclose the fields."
        ],
    )


_SPACED = re.compile(r' +".*"\s*', re.DOTALL)
"""A field that a space before its quote has kept from being read as quoted."""


def _line_of_spaced(text: str, separator: str, first: int) -> int:
    found = re.search(re.escape(separator) + ' +"', text)
    return first + (text.count("\n", 0, found.start()) if found else 0)


def _even_rows(
    where: str,
    text: str,
    separator: str,
    first: int,
    format: str,
    quoted: bool,
    *,
    spaces: bool = False,
) -> list[_Row]:
    with _long_fields():
        rows = list(_rows(where, text, separator, first, quoted, spaces))
    header = [name.strip().lstrip("\ufeff") for name in rows[0].values]
    for row in rows[1:]:
        if len(row.values) != len(header):
            raise DataError(_uneven(f"{where}:{row.line}", row.values, header, format, quoted))
    return rows


def _rows(
    where: str,
    text: str | Iterator[str],
    separator: str,
    first: int,
    quoted: bool,
    spaces: bool = False,
) -> Iterator[_Row]:
    """Read all rows, the header included; empty lines are skipped.

    With ``spaces``, those after a separator do not belong to the field.
    """
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline="") if isinstance(text, str) else text:
            taken.append(line)
            yield line

    reader = csv.reader(
        lines(),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
        skipinitialspace=spaces,
    )
    begin = first
    try:
        for values in reader:
            if values:
                yield _Row(begin, values, tuple(taken) if len(taken) > 1 else ())
            begin += len(taken)
            taken.clear()
    except csv.Error as error:
        opening = begin + _last_opening(taken, separator)
        last = begin + len(taken) - 1
        raise DataError(
            f"{where}:{opening}: not a valid csv file: the quote that begins a field in this line "
            f"is not closed as it should ({error} in line {last}). Remove the quote, or close the "
            'field and double the quotes inside it (""); or write jsonl.'
        ) from None


@contextmanager
def _long_fields(most: int = sys.maxsize) -> Iterator[None]:
    """Allow long fields; the limit belongs to the whole process, so it is put back."""
    before = csv.field_size_limit(most)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _last_opening(lines: Sequence[str], separator: str) -> int:
    """Return the index of the line in which the last quoted field begins.

    Reading ends where the field is closed by a quote that nothing may follow.
    """
    opened, inside, at_start, closed = 0, False, True, False
    for index, line in enumerate(lines):
        for char in line:
            if closed and char == '"':
                inside, closed = True, False  # a doubled quote, inside after all
            elif inside:
                inside, closed = char != '"', char == '"'
            elif closed and char not in f"{separator}\r\n":
                return opened
            elif at_start and char == '"':
                opened, inside, at_start = index, True, False
            else:
                closed, at_start = False, char in f"{separator}\r\n"
    return opened


def _header(where: str, text: str, separator: str, first: int, quoted: bool) -> list[str]:
    with _long_fields():
        for row in _rows(where, text, separator, first, quoted):
            return row.values
    raise NoRowsError(f"{where} has no rows.")


def _other_separator(
    where: str, text: str, header: str, format: str, first: int
) -> tuple[str, list[str]]:
    """Return the only separator that gives rows like the header, and a remark about it."""
    possible = [other for other in _OTHERS[format] if other in header]
    fitting = [other for other in possible if _fits(where, text, other, first)]
    if len(fitting) != 1:
        shown = " or ".join(_NAMES[other] for other in possible)
        raise DataError(
            f"{where}:{first}: the header is the single column '{header[:60]}'. It may be meant "
            f"to be separated by {shown}, but then rows differ in their number of fields. "
            f"Separate the fields by {_NAMES[_USUAL[format]]}, or write jsonl."
        )
    return fitting[0], [
        f"{where} was read with {_NAMES[fitting[0]]} between its fields, not "
        f"{_NAMES[_USUAL[format]]}: all rows fit the header only so."
    ]


def _fits(where: str, text: str, separator: str, first: int) -> bool:
    for spaces in (False, True):
        try:
            with _long_fields():
                rows = _rows(where, text, separator, first, True, spaces)
                widths = {len(row.values) for row in rows}
        except DataError:
            continue
        if len(widths) == 1 and widths != {1}:
            return True
    return False


def _check_names(where: str, line: int, header: Sequence[str]) -> None:
    # Spreadsheets write columns without a name; nothing can refer to those.
    repeated = [name for name, count in Counter(filter(None, header)).items() if count > 1]
    if repeated:
        raise DataError(
            f"{where}:{line}: the header has the column '{repeated[0]}' more than once "
            f"({listed(header)}). Rename or remove all but one."
        )


def _uneven(
    location: str, values: Sequence[str], header: Sequence[str], format: str, quoted: bool
) -> str:
    given = "1 field" if len(values) == 1 else f"{len(values)} fields"
    advice = (
        "Quote fields that contain separators."
        if format == "csv"
        else "If a text contains tabs or line breaks, write csv or jsonl."
        if quoted
        else "Texts in a tsv file cannot contain tabs or line breaks; write csv or jsonl."
    )
    return f"{location}: {given}, but the header has {len(header)} ({listed(header)}). {advice}"


def _quoting_of_tsv(where: str, text: str) -> tuple[bool, list[str]]:
    """Decide whether the quotes of a tsv file are those of csv, as pandas and Excel write them.

    They are if all fields with a quote begin and end with one and double those inside, and either
    the file makes no table otherwise, or the quotes were needed: by quotes inside a field, by
    commas (Excel), or because a whole column is quoted.

    Returns:
        The decision, and a remark about it.
    """
    if '"' not in text:
        return False, []
    rows = _fields_of_tsv(text)
    if rows is None or len({len(row) for row in rows}) > 1:
        return False, []
    width = len(rows[0])
    lines = [line for line in io.StringIO(text, newline=None) if line.rstrip("\n")]
    plain_table = all(line.count("\t") == width - 1 for line in lines)
    broken = any(re.search(r"[\t\r\n]", content) for row in rows for content, _ in row)
    if plain_table and broken:
        # Each line is a row by itself; probably a stray quote has met another one.
        return False, [
            f"{where}: fields that begin with a quote were read with it, since quotes as in csv "
            "would enclose tabs or line breaks. If they do, write csv or jsonl."
        ]
    if not plain_table or _quotes_were_needed(rows, width):
        return True, [f"{where}: the quotes around its fields were read as those of csv."]
    marked = [content for row in rows for content, quoted in row if quoted]
    return False, [
        f"{where}: {len(marked)} fields begin and end with a quote, which was kept as a part of "
        f'them ("{marked[0][:40]}"). If the quotes only enclose the fields, write csv or jsonl.'
    ]


def _quotes_were_needed(rows: Sequence[Sequence[tuple[str, bool]]], width: int) -> bool:
    fields = [one for row in rows for one in row]
    if any(quoted and '""' in content for content, quoted in fields):
        return True
    if len(rows) > 2 and any(all(row[column][1] for row in rows[1:]) for column in range(width)):
        return True
    # Excel quotes fields with a comma, and no others without need.
    return all(quoted == ("," in content) for content, quoted in fields)


def _fields_of_tsv(text: str) -> list[list[tuple[str, bool]]] | None:
    """Split a tsv file with quoting into rows of fields, each with whether it is quoted.

    Returns:
        None if a field contains a quote without being quoted.
    """
    rows: list[list[tuple[str, bool]]] = []
    row: list[tuple[str, bool]] = []
    position = 0
    while position < len(text):
        if (found := _FIELD.match(text, position)) is None:
            return None
        row.append((found[2] if found[1] is None else found[1], found[1] is not None))
        if found[3] != "\t":
            if row != [("", False)]:
                rows.append(row)
            row = []
        position = found.end()
    if row:
        rows.append([*row, ("", False)])  # the file ends with a tab
    return rows


def _swallowed(where: str, rows: Sequence[_Row], width: int, separator: str) -> list[str]:
    """Look for rows that a pair of stray quotes has made a part of one field.

    Such a field has several lines, each of which would be a row by itself: it has the right number
    of fields, one of them with a value that the column has elsewhere.
    """
    several = [row for row in rows if row.lines]
    if width < 2 or not several:
        return []
    known = [_Known(row.values[column] for row in rows if not row.lines) for column in range(width)]
    found = [row for row in several if _looks_like_rows(row, known, separator)]
    if not found:
        return []
    lost = sum(len(row.lines) - 1 for row in found)
    said = (
        f"{where}:{found[0].line}: a quoted field spans {len(found[0].lines)} lines, each of which "
        f"would be a row by itself ({found[0].lines[0].rstrip()[:60]!r} …)"
    )
    if len(found) > 1:
        said += f"; {len(found)} fields are like this"
    advice = "If a stray quote swallowed these rows, quote all texts, or write jsonl."
    if lost > _LOST * (len(rows) + lost):
        raise DataError(f"{said}, and {lost} of {len(rows) + lost} rows would be lost. {advice}")
    return [f"{said}. {advice}"]


class _Known:
    """The values of a column in rows of one line."""

    def __init__(self, values: Iterator[str]) -> None:
        self._values = {value.strip() for value in values} - {""}
        self._numeric = bool(self._values) and all(map(_is_number, self._values))

    def has(self, value: str) -> bool:
        """Whether the value occurs in it, or the column has only numbers and this is one."""
        value = value.strip().strip('"').strip()
        return value in self._values or (self._numeric and _is_number(value))


def _is_number(value: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", value) is not None


def _looks_like_rows(row: _Row, known: Sequence[_Known], separator: str) -> bool:
    width = len(known)
    column = next(
        (index for index, value in enumerate(row.values) if "\n" in value or "\r" in value), 0
    )
    alike = 0
    for index, line in enumerate(row.lines):
        parts = line.rstrip("\r\n").split(separator)
        # The first line has real fields before the quoted one, and the last line after it.
        tested = range(
            column + 1 if index == 0 else 0, column if index == len(row.lines) - 1 else width
        )
        if len(parts) == width and (
            not tested or any(known[at].has(parts[at]) for at in tested if at != column)
        ):
            alike += 1
    return alike >= _ALIKE * len(row.lines)
