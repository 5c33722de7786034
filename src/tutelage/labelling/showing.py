"""Which shots the prompt of a text shows, and which labels where there are many."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.labelling.neighbours import Neighbours
from tutelage.records import Example, Label, derive_seed

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Returns the embedding of each text, [N, D], of length 1."""

Choice = Literal["nearest", "random", "fixed"]
"""Choices that need no question to the teacher."""
ScoredChoice = Literal["nearest", "random", "fixed", "predictive"]
"""These, and the one by scores (:mod:`tutelage.labelling.demonstration_scores`)."""

_AT_ONCE = 1024
"""Texts per similarity computation."""
_DIGITS = 5
"""Decimals of a cosine that count. Later ones depend on the batch that a text is embedded in."""


def class_by_class(labels: Sequence[str | None]) -> list[int]:
    """Returns the indices of labels: every class once before any class twice, each time in order.

    Args:
        labels: The labels of some examples.
    """
    seen: Counter[str | None] = Counter()
    turns = []
    for index, label in enumerate(labels):
        turns.append((seen[label], index))
        seen[label] += 1
    return [index for _, index in sorted(turns)]


class ShotChoice:
    """Chooses the shots that the prompt of each text shows.

    With no more shots than the limit, every prompt shows all of them, in their given order.

    Args:
        shots: Labelled examples.
        most: Most shots per prompt; 0 shows none.
        choice: "nearest" shows the shots most similar to the text, the most similar one last, after
            Liu et al. 2022 ("What Makes Good In-Context Examples for GPT-3?"). "random" draws them
            for each text. "fixed" shows every text the same ones, from as many classes as possible.
            "predictive" does too, but of each class those with the best scores; see :meth:`rank`.
        embed: Returns embeddings; asked for "nearest" only, and only beyond the limit.
        seed: Seed of the run.

    Raises:
        ConfigError: ``most`` is negative.
    """

    def __init__(
        self,
        shots: Sequence[Example],
        most: int,
        choice: ScoredChoice = "fixed",
        embed: Embed | None = None,
        seed: int = 0,
    ) -> None:
        if most < 0:
            raise ConfigError(
                f"labelling.max_demonstrations={most} must be 1 or more, or 0 to show none."
            )
        self._shots = tuple(shots)
        self._most = most
        self._choice = choice
        self._embed = embed
        self._seed = seed
        self._embedded: NDArray[np.float32] | None = None
        self._scores: dict[Example, float] = {}

    @property
    def shots(self) -> tuple[Example, ...]:
        """The shots to choose from."""
        return self._shots

    @property
    def needs_scores(self) -> bool:
        """Whether the shots have to be scored to be chosen by."""
        return self._choice == "predictive" and 0 < self._most < len(self._shots)

    @property
    def scores(self) -> list[float]:
        """The scores of the shots, in their order; empty without scores."""
        return [self._scores[shot] for shot in self._shots] if self._scores else []

    def rank(self, scores: Sequence[float]) -> None:
        """Sets the scores by which "predictive" chooses; without them it chooses as "fixed" does.

        Args:
            scores: One per shot, in order; empty for none.
        """
        self._scores = dict(zip(self._shots, scores, strict=True)) if scores else {}

    def __call__(
        self, texts: Sequence[str], allowed: Sequence[Collection[str]] | None = None
    ) -> list[tuple[Example, ...]]:
        """Returns the shots of each text.

        Args:
            texts: The texts.
            allowed: The labels that each text's shots may have; None allows all.
        """
        if not self._most:
            return [()] * len(texts)
        own = [self._shots] * len(texts)
        if allowed is not None:
            own = [
                tuple(shot for shot in self._shots if shot.label in labels) for labels in allowed
            ]
        over = [index for index, shots in enumerate(own) if len(shots) > self._most]
        if over and self._choice == "nearest":
            ranked = self._ranked([texts[index] for index in over])
            for index, ranking in zip(over, ranked, strict=True):
                kept = set(own[index])
                own[index] = tuple([shot for shot in ranking if shot in kept][-self._most :])
        else:
            for index in over:
                own[index] = self._drawn(texts[index], own[index], self._most)
        return own

    def ordered(self, texts: Sequence[str]) -> list[tuple[Example, ...]]:
        """Returns all shots for each text: by rising similarity, in random order, or as given."""
        if self._choice == "nearest" and self._shots:
            return list(self._ranked(texts))
        return [self._drawn(text, self._shots, len(self._shots)) for text in texts]

    def _drawn(self, text: str, shots: tuple[Example, ...], count: int) -> tuple[Example, ...]:
        if self._choice == "random":
            rng = random.Random(derive_seed("demonstrations", self._seed, text))
            return tuple(rng.sample(shots, count))
        # The best first; equal ones, and all of them without scores, in their given order.
        ranked = sorted(range(len(shots)), key=lambda at: -self._scores.get(shots[at], 0.0))
        turns = class_by_class([shots[at].label for at in ranked])[:count]
        return tuple(shots[at] for at in sorted(ranked[turn] for turn in turns))

    def _ranked(self, texts: Sequence[str]) -> Iterator[tuple[Example, ...]]:
        """Yields all shots by rising similarity to each text."""
        assert self._embed is not None
        if self._embedded is None:
            self._embedded = self._embed([shot.text for shot in self._shots])
        embedded = self._embed(texts)
        for start in range(0, len(texts), _AT_ONCE):
            own = texts[start : start + _AT_ONCE]
            near = Neighbours(
                self._shots,
                self._embedded,
                own,
                embedded[start : start + _AT_ONCE],
                len(self._shots),
                _DIGITS,
            )
            yield from map(near, own)


class Shortlist:
    """Chooses the labels that a text's prompt lists, where there are many.

    A label is as similar to a text as its word and description are, or the most similar of its
    shots. A text that is a shot is compared with the other shots, so that its label is not given
    away where shots are labelled to judge a way of asking. The student's own classes come first.

    Args:
        labels: The label space.
        shots: Labelled examples.
        embed: Returns embeddings.
        size: Labels per text; at least 2.

    Attributes:
        size: As given.

    Raises:
        ConfigError: ``size`` is below 2.
    """

    def __init__(
        self, labels: Sequence[Label], shots: Sequence[Example], embed: Embed, size: int
    ) -> None:
        if size < 2:
            raise ConfigError(
                f"labelling.shortlist={size} must be 2 or more labels, or null to list all."
            )
        self._labels = tuple(labels)
        self._index = {label.name: index for index, label in enumerate(labels)}
        self._shots = [shot for shot in shots if shot.label in self._index]
        self._embed = embed
        self.size = size
        self._embedded: NDArray[np.float32] | None = None

    def __call__(
        self, texts: Sequence[str], likely: Sequence[Sequence[str]]
    ) -> list[tuple[int, ...]]:
        """Returns the labels of each text by their indices, in the order of the label space.

        Args:
            texts: The texts.
            likely: The student's classes for each text, the most probable one first; up to half of
                the list.
        """
        if not texts:
            return []
        similar = self._similarities(texts, self._embed(texts))
        ranked = np.argsort(-similar, axis=1, kind="stable")
        found = []
        for own, order in zip(likely, ranked.tolist(), strict=True):
            first = [self._index[name] for name in own[: self.size // 2]]
            found.append(tuple(sorted(list(dict.fromkeys([*first, *order]))[: self.size])))
        return found

    def recall(self) -> tuple[int, int]:
        """Returns how many shots have their label in their own shortlist, and their number.

        Each shot is compared with the labels and the other shots.
        """
        if not self._shots:
            return 0, 0
        texts = [shot.text for shot in self._shots]
        similar = self._similarities(texts, self._known()[len(self._labels) :])
        gold = np.array([self._index[str(shot.label)] for shot in self._shots])
        own = similar[np.arange(len(gold)), gold]
        ahead = (similar > own[:, None]).sum(axis=1)
        return int((ahead < self.size).sum()), len(gold)

    def _similarities(
        self, texts: Sequence[str], embedded: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Returns the similarity of each text to each label, [N, labels].

        Args:
            texts: The texts.
            embedded: Their embeddings, [N, D].
        """
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            rows.setdefault(text, []).append(row)
        cosines = (embedded @ self._known().T).astype(np.float64).round(_DIGITS)
        similar: NDArray[np.float64] = cosines[:, : len(self._labels)].copy()
        for number, shot in enumerate(self._shots):
            column: NDArray[Any] = cosines[:, len(self._labels) + number]
            column[rows.get(shot.text, [])] = -1.0
            at = self._index[str(shot.label)]
            np.maximum(similar[:, at], column, out=similar[:, at])
        return similar

    def _known(self) -> NDArray[np.float32]:
        """Returns the embeddings of the labels, then of the shots."""
        if self._embedded is None:
            described = [
                label.word
                if label.description in ("", label.word)
                else f"{label.word}: {label.description}"
                for label in self._labels
            ]
            self._embedded = self._embed([*described, *(shot.text for shot in self._shots)])
        return self._embedded
