"""Span candidates for NER: capitalised runs, chunks, n-grams, and predictions of the student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from tutelage.characters import counts_in_characters
from tutelage.errors import ConfigError, did_you_mean

Place = tuple[int, int]
"""A span of words, [start, end)."""

CandidateSource = Literal["capitals", "chunks", "ngrams", "student"]
SOURCES: tuple[str, ...] = get_args(CandidateSource)
"""Sources of candidates, explained in :class:`SpanCandidates`."""

_INNER = frozenset(
    {
        "of",
        "the",
        "and",
        "de",
        "la",
        "le",
        "les",
        "di",
        "du",
        "del",
        "der",
        "von",
        "van",
        "den",
        "for",
        "in",
        "on",
        "to",
        "at",
        "a",
        "an",
    }
    | {"&", "'s", "'", "-", "."}
)
"""Small words inside names: English ones, and common ones in foreign names."""

_BEFORE_A_SENTENCE = frozenset({".", '"', "“", "''", "``", "!", "?", ":"})


AUTOMATIC: tuple[CandidateSource, ...] = ("capitals", "chunks", "student")
"""Sources where many names are written without capitals."""
_MOSTLY = 0.6
_LONGEST_NAME = 8


def automatic_sources(names: Sequence[Sequence[str]]) -> tuple[CandidateSource, ...]:
    """Chooses sources by known names: capitals alone, unless many of them have none.

    Args:
        names: The words of each known name.
    """
    return ("capitals",) if mostly_capitalised(names) else AUTOMATIC


def automatic_width(names: Sequence[Sequence[str]], width: int) -> int:
    """Widens candidates in scripts where every character is a word.

    Args:
        names: The words of each known name.
        width: The configured width.

    Returns:
        The width, or the length of the longest name, at most 8, if the names are of such a script.
    """
    if not counts_in_characters(word for name in names for word in name):
        return width
    return max(width, min(_LONGEST_NAME, max(map(len, names))))


def mostly_capitalised(names: Sequence[Sequence[str]]) -> bool:
    """Whether at least 60 % of the names begin with a capital; true without any name."""
    return sum(capitalised(name[0]) for name in names) >= _MOSTLY * len(names)


class SpanCandidates:
    """Finds the candidate spans of a text, from one or more sources.

    - "capitals": runs of capitalised words, with and without small words inside. At the beginning
      of a sentence, a run starts at its first word other than a stop word.
    - "chunks": runs of words without stop words and punctuation, and all their parts.
    - "ngrams": every run of words that neither begins nor ends with a stop word or punctuation.
    - "student": entities in the student's best or second-best prediction, and the same spans with
      one word more or less at either end.

    docs/results/entities.md lists recall and cost of each source on real data
    (benchmarks/candidate_recall.py).

    Args:
        parts: Longest part of a capitalised run that is a candidate too, in words; 0 for whole runs
            only.
        sources: One or more of :data:`SOURCES`; "student" needs another one besides it.
        width: Longest candidate of every source except "capitals", in words; at least 1.

    Raises:
        ConfigError: ``parts`` is negative, ``width`` is below 1, or a source is unknown; or there
            is no source besides "student".
    """

    def __init__(
        self, parts: int = 0, sources: Sequence[str] = ("capitals",), width: int = 4
    ) -> None:
        if parts < 0:
            raise ConfigError(f"labelling.candidate_parts={parts} must be 0 or more words.")
        if width < 1:
            raise ConfigError(f"labelling.candidate_width={width} must be 1 or more words.")
        if isinstance(sources, str):
            raise ConfigError(
                f"labelling.candidates={sources} is not a list. Use "
                f"labelling.candidates=[{sources}]."
            )
        for source in sources:
            if source not in SOURCES:
                raise ConfigError(did_you_mean("labelling.candidates", str(source), SOURCES))
        if not set(sources) - {"student"}:
            raise ConfigError(
                f"labelling.candidates={list(sources)} gives no candidate before there is a "
                "student, so every text would be labelled without entities. Add another source: "
                "capitals, chunks or ngrams."
            )
        # Imported late, because scikit-learn takes a while and other labellers do without.
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        self._parts = parts
        self._sources = frozenset(sources)
        self._width = width
        self._stop_words = frozenset(ENGLISH_STOP_WORDS)

    @property
    def asks_student(self) -> bool:
        """Whether the student's predictions are a source."""
        return "student" in self._sources

    def __call__(self, words: Sequence[str], proposed: Sequence[Place] = ()) -> list[Place]:
        """Returns the candidates of a text.

        Args:
            words: The words of the text.
            proposed: Spans of the student's predictions.

        Returns:
            Distinct spans [start, end) in words, in the order of the text.
        """
        # A set, because sources often find the same span.
        found: set[Place] = set()
        if "capitals" in self._sources:
            found.update(self._capitals(words))
        if "chunks" in self._sources:
            found.update(
                index
                for index in self._ngrams(words)
                if all(self._can_bound(word) for word in words[slice(*index)])
            )
        if "ngrams" in self._sources:
            found.update(self._ngrams(words))
        if "student" in self._sources:
            found.update(self._near(words, proposed))
        return sorted(found)

    def _capitals(self, words: Sequence[str]) -> set[Place]:
        # Runs with small words inside ("Bank of England"), and without ("Bank", "England").
        loose = _runs(words, inner=True)
        names = (self._name(words, run) for run in (*loose, *_runs(words, inner=False)))
        found = {name for name in names if name is not None}
        # Parts of a run, up to the allowed length, from one capitalised word to another.
        for start, end in loose if self._parts else ():
            capital = [index for index in range(start, end) if capitalised(words[index])]
            found.update(
                (one, last + 1)
                for one in capital
                for last in capital
                if one <= last < one + self._parts
            )
        return found

    def _ngrams(self, words: Sequence[str]) -> Iterator[Place]:
        bounds = [self._can_bound(word) for word in words]
        for first in (index for index, possible in enumerate(bounds) if possible):
            for end in range(first + 1, min(first + self._width, len(words)) + 1):
                if bounds[end - 1]:
                    yield first, end

    def _near(self, words: Sequence[str], proposed: Sequence[Place]) -> Iterator[Place]:
        """Yields each proposed span, and variants with one end moved by one word.

        No span begins or ends with punctuation, and no end is moved onto a stop word.
        """
        for start, end in proposed:
            for first, last in (
                (start, end),
                (start - 1, end),
                (start + 1, end),
                (start, end - 1),
                (start, end + 1),
            ):
                # Moved ends must stay inside the text, and the span within its width.
                if not (0 <= first < last <= len(words) and last - first <= self._width):
                    continue
                begins = _is_word(words[first]) if first == start else self._can_bound(words[first])
                ends = (
                    _is_word(words[last - 1]) if last == end else self._can_bound(words[last - 1])
                )
                if begins and ends:
                    yield first, last

    def _can_bound(self, word: str) -> bool:
        """Returns whether a name can begin or end with ``word``."""
        return _is_word(word) and not _is_stop_word(word, self._stop_words)

    def _name(self, words: Sequence[str], run: Place) -> Place | None:
        """Strips leading words such as "The" off a run that begins a sentence.

        Returns:
            The shortened run, or None if nothing is left.
        """
        start, end = run
        if start == 0 or words[start - 1] in _BEFORE_A_SENTENCE:
            while start < end and (
                _is_stop_word(words[start], self._stop_words) or not capitalised(words[start])
            ):
                start += 1
        return (start, end) if start < end else None


def _is_word(word: str) -> bool:
    return any(sign.isalnum() for sign in word)


def _is_stop_word(word: str, stop_words: frozenset[str]) -> bool:
    # "US" and "IT" are names, although their small letters are stop words.
    return word.lower() in stop_words and not (len(word) > 1 and word.isupper())


def _runs(words: Sequence[str], *, inner: bool) -> list[Place]:
    """Returns the longest runs of capitalised words.

    Args:
        words: The words of the text.
        inner: Whether up to two small words may link capitalised words.
    """
    runs: list[Place] = []
    index = 0
    while index < len(words):
        if not capitalised(words[index]):
            index += 1
            continue
        # Extend the run while a capitalised word follows, directly or after small words.
        end = index + 1
        while end < len(words):
            after = end
            while (
                inner
                and after < len(words)
                and after - end < 2
                and words[after].lower() in _INNER
                and not capitalised(words[after])
            ):
                after += 1
            if after >= len(words) or not capitalised(words[after]):
                break
            end = after + 1
        runs.append((index, end))
        index = end
    return runs


def capitalised(word: str) -> bool:
    """Returns whether a word looks like part of a name: "Rome", "US", or "4X"."""
    return word[:1].isupper() or (word[:1].isdigit() and any(sign.isupper() for sign in word))
