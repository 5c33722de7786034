"""Where an entity could be: capitalised runs, chunks and n-grams of the words, and what the student marks or nearly does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tutelage.errors import ConfigError, did_you_mean

Place = tuple[int, int]
"""A span of words, [start, end)."""

SOURCES = ("capitals", "chunks", "ngrams", "student")
"""Where candidates may come from."""

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
"""Small words that may stand inside a name (English, and common in names from elsewhere)."""

_BEFORE_A_SENTENCE = frozenset({".", '"', "“", "''", "``", "!", "?", ":"})


class SpanCandidates:
    """Candidate spans of a text, as [start, end) in words, from one source or several; no span comes twice.

    - "capitals": runs of capitalised words with and without small words inside, at the beginning of a sentence from the first word that is no
      stop word.
    - "chunks": noun chunks by rule: the runs of words that are neither stop words nor punctuation, and all their parts.
    - "ngrams": every run of words that neither begins nor ends in a stop word or punctuation.
    - "student": what the student marks in its best or second-best reading, and the same with a word more or less on either side.

    What each finds of real data, and with how many candidates: docs/results.md (benchmarks/candidate_recall.py).

    Args:
        parts: longest part of a capitalised run that is a candidate of its own, in words; 0 for whole runs only.
        sources: of :data:`SOURCES`.
        width: longest candidate of every source but "capitals", in words.

    Raises:
        ConfigError: ``parts`` is negative, ``width`` is below 1, a source is unknown, or none is there before the student is.
    """

    def __init__(
        self, parts: int = 0, sources: Sequence[str] = ("capitals",), width: int = 4
    ) -> None:
        if parts < 0:
            raise ConfigError(f"teacher.candidate_parts={parts} must be 0 or more words.")
        if width < 1:
            raise ConfigError(f"teacher.candidate_width={width} must be 1 or more words.")
        if isinstance(sources, str):
            raise ConfigError(
                f"teacher.candidates={sources} is no list. Give teacher.candidates=[{sources}]."
            )
        for source in sources:
            if source not in SOURCES:
                raise ConfigError(did_you_mean("teacher.candidates", str(source), SOURCES))
        if not set(sources) - {"student"}:
            raise ConfigError(
                f"teacher.candidates={list(sources)} gives no candidate before there is a student, so every text would be without entities. "
                "Name another source too: capitals, chunks or ngrams."
            )
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        self._parts = parts
        self._sources = frozenset(sources)
        self._width = width
        self._stop_words = frozenset(ENGLISH_STOP_WORDS)

    @property
    def asks_student(self) -> bool:
        """True where the student's own spans are a source."""
        return "student" in self._sources

    def __call__(self, words: Sequence[str], proposed: Sequence[Place] = ()) -> list[Place]:
        """The candidates in the order of the text.

        Args:
            proposed: the spans that the student's readings have.
        """
        found: set[Place] = set()
        if "capitals" in self._sources:
            found.update(self._capitals(words))
        if "chunks" in self._sources:
            found.update(
                index
                for index in self._ngrams(words)
                if all(self._holds(word) for word in words[slice(*index)])
            )
        if "ngrams" in self._sources:
            found.update(self._ngrams(words))
        if "student" in self._sources:
            found.update(self._near(words, proposed))
        return sorted(found)

    def _capitals(self, words: Sequence[str]) -> set[Place]:
        loose = _runs(words, inner=True)
        names = (self._name(words, run) for run in (*loose, *_runs(words, inner=False)))
        found = {name for name in names if name is not None}
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
        holds = [self._holds(word) for word in words]
        for first in (index for index, may in enumerate(holds) if may):
            for end in range(first + 1, min(first + self._width, len(words)) + 1):
                if holds[end - 1]:
                    yield first, end

    def _near(self, words: Sequence[str], proposed: Sequence[Place]) -> Iterator[Place]:
        """The proposed spans, and each with one of its ends a word off. No end is punctuation, and none is moved to a stop word."""
        for start, end in proposed:
            for first, last in (
                (start, end),
                (start - 1, end),
                (start + 1, end),
                (start, end - 1),
                (start, end + 1),
            ):
                if not (0 <= first < last <= len(words) and last - first <= self._width):
                    continue
                begins = _spoken(words[first]) if first == start else self._holds(words[first])
                ends = _spoken(words[last - 1]) if last == end else self._holds(words[last - 1])
                if begins and ends:
                    yield first, last

    def _holds(self, word: str) -> bool:
        """Whether a name may begin or end with ``word``."""
        return _spoken(word) and not _stops(word, self._stop_words)

    def _name(self, words: Sequence[str], run: Place) -> Place | None:
        """The run from its first word that a name can begin with: "The", "In" or "He" at the beginning of a sentence is none."""
        start, end = run
        if start == 0 or words[start - 1] in _BEFORE_A_SENTENCE:
            while start < end and (
                _stops(words[start], self._stop_words) or not capitalised(words[start])
            ):
                start += 1
        return (start, end) if start < end else None


def _spoken(word: str) -> bool:
    return any(sign.isalnum() for sign in word)


def _stops(word: str, stop_words: frozenset[str]) -> bool:
    return word.lower() in stop_words and not (
        len(word) > 1 and word.isupper()
    )  # "US" and "IT" are names


def _runs(words: Sequence[str], *, inner: bool) -> list[Place]:
    """Longest runs of capitalised words; with ``inner`` up to two small words may stand between them."""
    runs: list[Place] = []
    index = 0
    while index < len(words):
        if not capitalised(words[index]):
            index += 1
            continue
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
    """Whether a word looks like a part of a name: "Rome", "US", or a number with a capital after it, as "4X"."""
    return word[:1].isupper() or (word[:1].isdigit() and any(sign.isupper() for sign in word))
