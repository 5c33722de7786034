"""Seed policies: which written texts are shown as demonstrations when the next ones are written.

After Lee et al. 2023, Making Large Language Models Better Data Creators (arXiv 2310.20111), where
the texts of one round give the example that the next round is written from.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tutelage.data.dedup import mean_similarities
from tutelage.records import Example, Row
from tutelage.tasks.protocol import Task

_PART = 4
"""The policies "diverse" and "similar" draw from the first of this many parts of a ranking."""


class SeedTexts:
    """The accepted texts of earlier rounds that may be seeds of new ones, by a policy.

    ===========  =====================================================================
    "naive"      none, so that only gold shots are shown
    "random"     all texts of the class
    "diverse"    the quarter that is least similar to the other texts of the class
    "similar"    the quarter that is most similar to them
    "tree"       each text once, the oldest first, so that texts descend from the shots
    ===========  =====================================================================

    Similarity is that of near duplicates (:mod:`tutelage.data.dedup`), averaged over the other
    texts; the paper compares sentence embeddings with the example shown before. Which texts were
    seeds already follows from the parents of the pool's rows, so a resumed run needs no state.

    Args:
        policy: The policy.
        task: The task; a text with entities of several classes is a seed for each of them.
        rows: All rows of the pool.
    """

    def __init__(self, policy: str, task: Task, rows: Sequence[Row]) -> None:
        self._policy = policy
        self._ranked: dict[str, list[Example]] = {}
        self._used = {parent for row in rows for parent in row.parents}
        written = [row for row in rows if row.accepted and not row.given and row.source != "pool"]
        for row in written if policy != "naive" else ():
            for label in task.classes(row.target):
                self._ranked.setdefault(label, []).append(Example(row.id, row.text, row.target))
        if policy in ("diverse", "similar"):
            for label, texts in self._ranked.items():
                means = mean_similarities([one.text for one in texts])
                order = sorted(
                    range(len(texts)), key=means.__getitem__, reverse=policy == "similar"
                )
                self._ranked[label] = [texts[place] for place in order]

    def candidates(self, label: str, count: int, beside: Collection[str] = ()) -> list[Example]:
        """Returns the texts of a class to draw seeds from; for "tree", the seeds themselves.

        Args:
            label: The class.
            count: Number of seeds to draw; there may be fewer candidates.
            beside: Ids of texts that the prompt shows anyway, which are no seeds.
        """
        found = [one for one in self._ranked.get(label, ()) if one.id not in beside]
        if self._policy == "tree":
            found = [one for one in found if one.id not in self._used][:count]
            self._used.update(one.id for one in found)
        if self._policy in ("diverse", "similar"):
            # A few at least, so that the texts of a round are not all written from one.
            found = found[: max(2 * count, len(found) // _PART)]
        return found
