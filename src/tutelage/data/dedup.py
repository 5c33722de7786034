"""Exact, normalised and near duplicates of short and long texts.

Exact and normalised duplicates are found by hash, whatever the number of texts. Near duplicates are
pairs whose normalised forms have an indel similarity (rapidfuzz ``fuzz.ratio``) of at least
``threshold``. They are searched in two ways:

* Up to ``scan_limit`` short texts, the query is compared with every text of a compatible length, so
  nothing is missed. Checking 1,000 texts against 5,000 of 50 characters takes a fraction of a
  second.
* Beyond that limit, and always for long texts, the query is compared only with texts that share one
  of its rarest word pairs. The index takes 1 to 3 kB per text and a check at most 400 comparisons,
  so a million checks take minutes rather than hours. In return, a short text changed in every rare
  place can be missed (7 of 2,000 with a random change in every 25th character).
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rapidfuzz import fuzz, process

from tutelage.errors import ConfigError

DuplicateKind = Literal["exact", "normalised", "near"]

_LONG = 200
"""Characters from which a text is looked up by its word pairs.

It has enough of them, and comparing it in full is slow.
"""
_PROBES = 8
"""Word pairs looked up per check, the rarest first."""
_CANDIDATES = 400
"""Texts compared per check, at most."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A known text that a new text repeats.

    Attributes:
        kind: "exact" (the same string), "normalised" (the same after :func:`normalise`) or "near".
        of: The known text.
        against: The kind under which it was added, for instance "pool", "dev", "test" or "shots".
        similarity: In [0, 1]; 1 for exact and normalised duplicates.
    """

    kind: DuplicateKind
    of: str
    against: str
    similarity: float


def normalise(text: str) -> str:
    """Return ``text`` in NFKC, casefolded, with single spaces and without punctuation at its ends.

    A text of punctuation alone keeps it, so ":)" and ":(" stay distinct.
    """
    folded = text
    # Casefolding can undo NFKC and vice versa; three rounds reach the fixed point.
    for _ in range(3):
        folded = unicodedata.normalize("NFKC", folded).casefold()
    folded = " ".join(folded.split())
    start, end = 0, len(folded)
    while start < end and _at_end(folded[start]):
        start += 1
    while end > start and _at_end(folded[end - 1]):
        end -= 1
    return folded[start:end] or folded


def mean_similarities(texts: Sequence[str]) -> list[float]:
    """Return the mean similarity of each text to the others, in [0, 1]; 0 for a single text."""
    if len(texts) < 2:
        return [0.0] * len(texts)
    forms = [normalise(text) for text in texts]
    similarities = process.cdist(forms, forms, scorer=fuzz.ratio)
    # Each text is like itself.
    sums = similarities.sum(axis=1, dtype="float64") - similarities.diagonal()
    return [float(total) / 100.0 / (len(texts) - 1) for total in sums]


def _at_end(character: str) -> bool:
    return character == " " or unicodedata.category(character).startswith("P")


class Deduplicator:
    """Holds texts, and finds the one repeated by a new text.

    Args:
        threshold: Similarity in (0, 1] from which two texts are near duplicates; 1 disables the
            search for near duplicates.
        scan_limit: Number of held texts up to which every short text is compared; 0 always uses the
            index.

    Raises:
        ConfigError: If ``threshold`` is outside (0, 1].
    """

    def __init__(self, threshold: float = 0.9, scan_limit: int = 20_000) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ConfigError(
                f"The near-duplicate threshold is {threshold}; it must lie in (0, 1]. "
                "1 removes exact and normalised duplicates only."
            )
        self.threshold = threshold
        self.scan_limit = scan_limit
        self._exact: dict[str, int] = {}
        self._normalised: dict[str, int] = {}
        # By number: the text, its normal form, its kind. Near duplicates are searched among the
        # first texts of each normal form only.
        self._texts: list[str] = []
        self._forms: list[str] = []
        self._kinds: list[str] = []
        self._by_length: dict[int, dict[int, str]] = {}
        self._index: dict[int, array[int]] = {}
        self._indexed = 0

    def __len__(self) -> int:
        """Return the number of distinct texts held."""
        return len(self._exact)

    def add(self, text: str, kind: str) -> None:
        """Hold ``text`` under ``kind``; a text that is already held keeps its first kind."""
        if text in self._exact:
            return
        number = len(self._texts)
        form = normalise(text)
        self._exact[text] = number
        self._texts.append(text)
        self._forms.append(form)
        self._kinds.append(kind)
        # Repetitions of a normal form add nothing to near-duplicate search.
        if form not in self._normalised:
            self._normalised[form] = number
            self._by_length.setdefault(len(form), {})[number] = form

    def check(self, text: str) -> Duplicate | None:
        """Look for a held text that ``text`` repeats.

        Returns:
            An exact duplicate in preference to a normalised one, in preference to the nearest one;
            None if there is none.
        """
        if (number := self._exact.get(text)) is not None:
            return self._duplicate("exact", number, 1.0)
        form = normalise(text)
        if (number := self._normalised.get(form)) is not None:
            return self._duplicate("normalised", number, 1.0)
        if not form or self.threshold >= 1.0:
            return None
        # Few short texts are compared exhaustively; otherwise the index proposes candidates.
        if len(form) <= _LONG and len(self._normalised) <= self.scan_limit:
            return self._nearest(form, self._of_fitting_length(form))
        return self._nearest(form, self._sharing_pairs(form))

    def _duplicate(self, kind: DuplicateKind, number: int, similarity: float) -> Duplicate:
        return Duplicate(kind, self._texts[number], self._kinds[number], similarity)

    def _nearest(self, form: str, blocks: list[dict[int, str]]) -> Duplicate | None:
        best: tuple[float, int] | None = None
        cutoff = 100.0 * self.threshold
        for block in blocks:
            found = process.extractOne(
                form, block, scorer=fuzz.ratio, processor=None, score_cutoff=cutoff
            )
            # Ties go to the text added first, so that the result is independent of the blocks.
            if found is not None and (best is None or (-found[1], found[2]) < (-best[0], best[1])):
                best = (found[1], found[2])
                cutoff = found[1]
        return None if best is None else self._duplicate("near", best[1], best[0] / 100.0)

    def _of_fitting_length(self, form: str) -> list[dict[int, str]]:
        # The similarity of two texts is at most 2·shorter / (shorter + longer).
        length = len(form)
        low = int(length * self.threshold / (2.0 - self.threshold))
        high = int(length * (2.0 - self.threshold) / self.threshold) + 1
        return [self._by_length[size] for size in range(low, high + 1) if size in self._by_length]

    def _sharing_pairs(self, form: str) -> list[dict[int, str]]:
        # Bring the index up to date with the texts added since the last look-up.
        for number in range(self._indexed, len(self._forms)):
            if self._normalised[self._forms[number]] == number:
                for pair in _pairs(self._forms[number]):
                    self._index.setdefault(pair, array("I")).append(number)
        self._indexed = len(self._forms)
        # Collect candidates from the rarest pairs first.
        postings = sorted(
            (self._index[pair] for pair in _pairs(form) if pair in self._index), key=len
        )
        candidates: dict[int, str] = {}
        for posting in postings[:_PROBES]:
            for number in posting[: _CANDIDATES - len(candidates)]:
                candidates[number] = self._forms[number]
            if len(candidates) >= _CANDIDATES:
                break
        return [dict(sorted(candidates.items()))] if candidates else []


def _pairs(form: str) -> list[int]:
    """Hash the pairs of neighbouring words, including the ends of the text.

    A text of fewer than 6 words (or in a script without spaces) gets its character trigrams, too.
    """
    words = re.findall(r"\w+", form)
    padded = ["", *words, ""]
    hashes = [hash((first, second)) for first, second in pairwise(padded)]
    if len(words) < 6:
        hashes += [hash(form[index : index + 3]) for index in range(max(1, len(form) - 2))]
    # Keep the order of the text: hashes of strings differ between processes, and the order decides
    # between equally rare pairs.
    return list(dict.fromkeys(hashes))
