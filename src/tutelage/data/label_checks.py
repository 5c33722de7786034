"""Names of labels and entity types that are probably not meant as they stand in the data."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tutelage.characters import look_alike_key, shown, visible
from tutelage.data.labels import words_of
from tutelage.data.raw import RawExample, RawSplit
from tutelage.errors import DataError, listed
from tutelage.tasks.rows import RowReader, in_file

_MISSING = re.compile(
    r"[-–—._?]+|[<(#]?(n/?a|nan|nat|nil|none|null|missing)[>)]?|n\.a\.|undefined|unlabell?ed|\\n"
)
"""Folded names that usually mark a missing value."""
_NUMBER = re.compile(r"\+?(-?)0*(\d+)(?:\.0*)?")
_LATIN = str.maketrans(
    "АВЕКМНОРСТХУІЈЅаеорсхуіјѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTXYIJSaeopcxyijsABEZHIKMNOPTYXo"
)
"""Cyrillic and Greek letters that have the form of a Latin one."""
_HIDDEN_NUMBER = re.compile(r"-(1|9+)")
"""Numbers that mark a missing value among classes numbered from 0 or 1."""
_LIST = re.compile(r"""\[\s*(?:(["']).*\1)?\s*,?\s*\]""", re.DOTALL)
"""A list of strings in Python or JSON."""
_QUOTED = re.compile(r"""["'“”„‘’«»](.*\S.*)["'“”‘’«»]""", re.DOTALL)
"""A name in quotation marks."""
_SHOWN = 5
"""Names, or groups of names, in a message."""
_CUT_FROM = 80
"""Characters of a name from which its middle is not shown."""
_LISTED = 400
"""Characters of an override that lists every label, at most."""
_MANY_ROWS = 50
"""Number of labelled rows from which a class for nearly every row is an error, not a warning."""


@dataclass(frozen=True, slots=True)
class Use:
    """How a label is used.

    Attributes:
        rows: Number of rows that have it.
        first: Location of the first.
    """

    rows: int
    first: str


def label_uses(splits: Iterable[Iterable[RawExample]], reader: RowReader) -> dict[str, Use]:
    """Return every label with its use in ``splits``, in the order of first occurrence."""
    uses: dict[str, Use] = {}
    for rows in splits:
        for row in rows:
            for name in reader.classes(row.label) if row.label is not None else ():
                known = uses.get(name, Use(0, row.location))
                uses[name] = Use(known.rows + 1, known.first)
    return uses


def check_look_alikes(uses: Mapping[str, Use], trained: Collection[str], reader: RowReader) -> None:
    """Refuse labels that only differ in ways that a reader would not mean.

    Args:
        uses: Labels of all splits that ``data.labels`` does not list.
        trained: Those with a training example, without which a label cannot be kept.
        reader: The task's reader.

    Raises:
        DataError: If two labels look the same.
    """
    # Marks of missing values have a warning of their own.
    groups = _look_alikes([name for name in uses if not _is_missing(name, uses)])
    if not groups:
        return
    described = [
        f"{_enumerated([f'{_shown(name)} ({_rows(uses[name])})' for name in group])} "
        f"differ in {_difference(group)} only"
        for group in groups
    ]
    more = f"; and {len(groups) - _SHOWN} more such groups" if len(groups) > _SHOWN else ""
    same = f"Some {reader.class_name}s look the same: {'; '.join(described[:_SHOWN])}{more}."
    held_out = [name for group in groups for name in group if name not in trained]
    if held_out:
        files = dict.fromkeys(in_file(uses[name].first).rpartition(":")[0] for name in held_out)
        raise DataError(
            f"{same} Correct the rows of {_enumerated(list(files))}: no training example has "
            f"{_enumerated([_shown(name) for name in held_out[:_SHOWN]], 'or')}."
        )
    raise DataError(f"{same} Write each in one way, or keep them apart: {_listing(uses)}")


def label_warnings(
    uses: Mapping[str, Use],
    raw: RawSplit,
    rows: Sequence[RawExample],
    everywhere: Mapping[str, Use],
    class_order: Sequence[str],
    reader: RowReader,
) -> list[str]:
    """Return warnings about inferred labels.

    Args:
        uses: Labels in ``rows``.
        raw: The split that defines the labels.
        rows: Its rows.
        everywhere: Labels of all splits.
        class_order: Names of numbered classes in the order of their numbers.
        reader: The task's reader.

    Raises:
        DataError: If nearly every one of many rows has a label of its own.
    """
    return [
        *_missing(everywhere, reader),
        *_lists(everywhere, reader),
        *_rare(uses, raw, rows, reader),
        *_one_word(uses, reader),
        *_shifted(uses, raw.where, class_order, reader),
    ]


def _missing(uses: Mapping[str, Use], reader: RowReader) -> list[str]:
    names = [name for name in uses if _is_missing(name, uses)]
    if not names:
        return []
    found = [f"{_shown(name)} ({_rows(uses[name])})" for name in names]
    each = "are each" if len(names) > 1 else "is"
    return [
        f"{_enumerated(found)} {each} used as {_article(reader.class_name)}, but may mark missing "
        f"values. If so, {reader.unmarked}; if not, list all {reader.class_name}s: {_listing(uses)}"
    ]


def _lists(uses: Mapping[str, Use], reader: RowReader) -> list[str]:
    """Labels that look like several."""
    names = [name for name in uses if _is_list(name, uses)]
    if not names:
        return []
    rows = sum(uses[name].rows for name in names)
    several, noun = len(names) > 1, reader.class_name
    return [
        f"{len(names):,} {noun}{'s' * several} in {rows:,} rows "
        f"look{'' if several else 's'} like several {noun}s, such as {_shown(names[0])} "
        f"({_rows(uses[names[0]])}). Each counts as one {noun}; if several are meant, keep one."
    ]


def _is_list(name: str, names: Collection[str]) -> bool:
    """Whether a label is written as a list, or joins others of ``names``."""
    if _LIST.fullmatch(name):
        return True
    # A comma is frequent inside of a single name, the other signs are not.
    return any(
        sign in name and whole(part.strip() in names for part in name.split(sign))
        for sign, whole in (("|", any), (";", any), (",", all))
    )


def _rare(
    uses: Mapping[str, Use], raw: RawSplit, rows: Sequence[RawExample], reader: RowReader
) -> list[str]:
    """Classes of a single row: slips of the pen, or a column that does not hold labels."""
    labelled = sum(row.label is not None for row in rows)
    single = [name for name, use in uses.items() if use.rows == 1 and not _is_missing(name, uses)]
    if len(uses) > _SHOWN and len(uses) > sum(use.rows for use in uses.values()) / 2:
        said = (
            f"{raw.where} has {len(uses):,} {reader.class_name}s in {labelled:,} labelled rows, "
            f"such as {_enumerated([_shown(name) for name in list(uses)[:3]])}: is it the right "
            f"column (of {listed(raw.columns)})? Set {reader.label_settings}"
        )
        if labelled >= _MANY_ROWS:
            raise DataError(f"{said}, or, if they are right, list them all in data.labels.")
        return [f"{said} if not."]
    if not single:
        return []
    found = [f"{_shown(name)} ({in_file(uses[name].first)})" for name in single[:_SHOWN]]
    more = [f"{len(single) - _SHOWN} more"] if len(single) > _SHOWN else []
    return [
        f"Only one row of {raw.where} has the {reader.class_name} {_enumerated(found + more, 'or')}"
        ". Check the spelling, or add examples."
    ]


def _one_word(uses: Mapping[str, Use], reader: RowReader) -> list[str]:
    """Labels that differ in punctuation or capitals, for which the teacher reads one word."""
    groups = _grouped(uses, words_of)
    found = [
        f"'{words_of(group[0])}' for {_enumerated([_shown(name) for name in group])}"
        for group in groups[:_SHOWN]
    ]
    if not found:
        return []
    return [
        f"The teacher reads one word for several {reader.class_name}s: {'; '.join(found)}. "
        "Write each in one way, or give each a word of its own in data.labels."
    ]


def _shifted(
    uses: Mapping[str, Use], where: str, class_order: Sequence[str], reader: RowReader
) -> list[str]:
    """Numbered classes without a row, after which the student's numbers differ from the data's."""
    seen = [number for number, name in enumerate(class_order) if name in uses]
    unseen = [name for name in class_order[: max(seen, default=0)] if name not in uses]
    if not unseen:
        return []
    names = _enumerated([_shown(name) for name in unseen[:_SHOWN]], "or")
    return [
        f"No row of {where} has the {reader.class_name} {names}, so the student has no such "
        "class and numbers the ones after it differently from the data set. Compare by name."
    ]


def _is_missing(name: str, names: Collection[str]) -> bool:
    """Whether a label probably marks a missing value among ``names``."""
    key = look_alike_key(name)
    if _HIDDEN_NUMBER.fullmatch(key):
        # Beside 0 and 1 alone, -1 is as likely a class ("negative").
        others = [other for other in names if other != name]
        return len(others) > 2 and all(other.isdecimal() for other in others)
    return not key or bool(_MISSING.fullmatch(key))


def _look_alikes(names: Collection[str]) -> list[list[str]]:
    """Groups of names that look the same, each in the given order."""
    # If nothing but true, false, 1 and 0 occurs, the numbers are another way of writing the words.
    as_bool = {_number(look_alike_key(name)) for name in names} <= {"true", "false", "1", "0"}
    # A capital may have a Latin form that its small letter lacks (Greek mu).
    folded: dict[str, str] = {}
    forms = {name: folded.setdefault(look_alike_key(name), _key(name)) for name in names}
    return _grouped(
        names,
        lambda name: _as_bool(forms[name]) if as_bool else forms[name],
    )


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _key(name: str) -> str:
    return _number(_unquoted(look_alike_key(name.translate(_LATIN))))


def _unquoted(name: str) -> str:
    """The name without quotation marks around it."""
    while found := _QUOTED.fullmatch(name):
        name = found[1].strip()
    return name


def _number(name: str) -> str:
    """One form for a whole number ("1.0", "01", "+1"); a version ("1.10") is none."""
    found = _NUMBER.fullmatch(name)
    return f"{found[1]}{found[2]}" if found else name


def _as_bool(name: str) -> str:
    return {"1": "true", "0": "false"}.get(name, name)


_DIFFERENCES: dict[str, Callable[[str], str]] = {
    "case": str.casefold,
    "white space": lambda name: " ".join(name.split()),
    "invisible characters": visible,
    "Unicode form": lambda name: unicodedata.normalize("NFKC", name),
    "quotation marks": _unquoted,
    "letters of another alphabet": lambda name: name.translate(_LATIN),
    "the format of a number": _number,
    "the way of writing true and false": _as_bool,
}


def _difference(names: Sequence[str]) -> str:
    """Name what distinguishes names that look the same."""

    def unites(kinds: Collection[str]) -> bool:
        forms = set(names)
        for _ in range(3):
            for kind in kinds:
                forms = set(map(_DIFFERENCES[kind], forms))
        return len(forms) == 1

    for kind in _DIFFERENCES:
        if unites([kind]):
            return kind
    needed = [
        kind for kind in _DIFFERENCES if not unites([one for one in _DIFFERENCES if one != kind])
    ]
    return _enumerated(needed or list(_DIFFERENCES)[:4])


def _shown(name: str) -> str:
    """The name in quotes; in ASCII if it would not show what it is made of."""
    plain = name.isprintable() and unicodedata.is_normalized("NFC", name) and "\u00a0" not in name
    if len(name) > _CUT_FROM:
        return f"'{shown(name)}'"
    return f"'{name}'" if plain else ascii(name)


def _rows(use: Use) -> str:
    return f"{use.rows:,}, first in {in_file(use.first)}"


def _listing(names: Iterable[str]) -> str:
    """An override that lists every label, quoted for the shell."""
    quoted = ",".join(map(_override_string, sorted(names)))
    if len(quoted) > _LISTED:
        return "list every one of them in data.labels."
    return shlex.quote(f"data.labels=[{quoted}]")


def _override_string(name: str) -> str:
    """A string of an override that is read as ``name``, and as no interpolation."""
    # OmegaConf reads a backslash before "${" as an escape, Hydra one before a quote or the end.
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", name)
    quotable = re.sub(r'(\\*)"', r'\1\1\\"', literal)
    end = len(quotable) - len(quotable.rstrip("\\"))
    return f'"{quotable}{quotable[-end:] if end else ""}"'


def _enumerated(parts: Sequence[str], word: str = "and") -> str:
    """Parts as "a, b and c"."""
    return f" {word} ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
