"""Exact, normalised and near duplicates of short and long texts.

Exact and normalised duplicates are found by hash, whatever the size. Near duplicates are texts whose normalised forms have
an indel similarity (rapidfuzz ``fuzz.ratio``) of at least ``threshold``. Two ways to find them:

* Up to ``scan_limit`` short texts, every text of a fitting length is compared: nothing is missed. 1,000 texts against 5,000 of
  50 characters take a fraction of a second.
* Beyond that, and for long texts always, only texts that share one of the query's rarest word pairs are compared. It costs 1
  to 3 kB a text and up to 400 comparisons a check, so a million checks take minutes, not hours; the price is that a short text
  that was changed in every rare place can be missed (7 of 2,000 with a random change in every 25th character).
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rapidfuzz import fuzz, process

from tutelage.errors import ConfigError

DuplicateKind = Literal["exact", "normalised", "near"]

_LONG = 200
"""Characters from which a text is looked up by its word pairs: it has enough of them, and comparing it is dear."""
_PROBES = 8
_CANDIDATES = 400


@dataclass(frozen=True, slots=True)
class Duplicate:
    """What a text is a duplicate of.

    Attributes:
        kind: "exact" (the same string), "normalised" (the same after :func:`normalise`) or "near".
        of: the known text.
        against: the kind that the known text was added with, for instance "pool", "dev", "test" or "shots".
        similarity: in [0, 1]; 1 for exact and normalised ones.
    """

    kind: DuplicateKind
    of: str
    against: str
    similarity: float


def normalise(text: str) -> str:
    """Return ``text`` in NFKC, casefolded, with single spaces, and without punctuation at its ends.

    A text of punctuation alone keeps it, so that ":)" and ":(" stay two texts.
    """
    folded = text
    # Casefolding can undo NFKC and the other way round; three rounds reach the fixed point.
    for _ in range(3):
        folded = unicodedata.normalize("NFKC", folded).casefold()
    folded = " ".join(folded.split())
    start, end = 0, len(folded)
    while start < end and _at_end(folded[start]):
        start += 1
    while end > start and _at_end(folded[end - 1]):
        end -= 1
    return folded[start:end] or folded


def _at_end(character: str) -> bool:
    return character == " " or unicodedata.category(character).startswith("P")


class Deduplicator:
    """Holds texts, and says of a new one whether it repeats any of them.

    Args:
        threshold: similarity in (0, 1] from which two texts are near duplicates.
        scan_limit: number of held texts up to which every short text is compared; 0 always uses the index.

    Raises:
        ConfigError: ``threshold`` is outside (0, 1].
    """

    def __init__(self, threshold: float = 0.9, scan_limit: int = 20_000) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ConfigError(
                f"The near-duplicate threshold is {threshold}; it must lie in (0, 1]. 1 keeps all but exact and normalised ones."
            )
        self.threshold = threshold
        self.scan_limit = scan_limit
        self._exact: dict[str, int] = {}
        self._normalised: dict[str, int] = {}
        # By number: the text, its normal form, its kind. Only the first text of a normal form is held for near look-ups.
        self._texts: list[str] = []
        self._forms: list[str] = []
        self._kinds: list[str] = []
        self._by_length: dict[int, dict[int, str]] = {}
        self._index: dict[int, array[int]] = {}
        self._indexed = 0

    def __len__(self) -> int:
        """The number of different texts held."""
        return len(self._exact)

    def add(self, text: str, kind: str) -> None:
        """Hold ``text``. A text that is already held keeps the kind that it was first added with."""
        if text in self._exact:
            return
        number = len(self._texts)
        form = normalise(text)
        self._exact[text] = number
        self._texts.append(text)
        self._forms.append(form)
        self._kinds.append(kind)
        if form not in self._normalised:
            self._normalised[form] = number
            self._by_length.setdefault(len(form), {})[number] = form

    def check(self, text: str) -> Duplicate | None:
        """Return what ``text`` repeats: an exact duplicate before a normalised one before the nearest one, or None."""
        if (number := self._exact.get(text)) is not None:
            return self._duplicate("exact", number, 1.0)
        form = normalise(text)
        if (number := self._normalised.get(form)) is not None:
            return self._duplicate("normalised", number, 1.0)
        if not form or self.threshold >= 1.0:
            return None
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
            # Of equals the one that was added first, so that the answer does not depend on the blocks.
            if found is not None and (best is None or (-found[1], found[2]) < (-best[0], best[1])):
                best = (found[1], found[2])
                cutoff = found[1]
        return None if best is None else self._duplicate("near", best[1], best[0] / 100.0)

    def _of_fitting_length(self, form: str) -> list[dict[int, str]]:
        # The similarity is at most 2·shorter / (shorter + longer).
        length = len(form)
        low = int(length * self.threshold / (2.0 - self.threshold))
        high = int(length * (2.0 - self.threshold) / self.threshold) + 1
        return [self._by_length[size] for size in range(low, high + 1) if size in self._by_length]

    def _sharing_pairs(self, form: str) -> list[dict[int, str]]:
        for number in range(self._indexed, len(self._forms)):
            if self._normalised[self._forms[number]] == number:
                for pair in _pairs(self._forms[number]):
                    self._index.setdefault(pair, array("I")).append(number)
        self._indexed = len(self._forms)
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
    """Hashes of neighbouring words, ends included; of a text of few words (or in a script without spaces) character trigrams too."""
    words = re.findall(r"\w+", form)
    padded = ["", *words, ""]
    hashes = [hash((first, second)) for first, second in pairwise(padded)]
    if len(words) < 6:
        hashes += [hash(form[index : index + 3]) for index in range(max(1, len(form) - 2))]
    # In the order of the text: string hashes differ from process to process, and the order decides between equally rare pairs.
    return list(dict.fromkeys(hashes))
