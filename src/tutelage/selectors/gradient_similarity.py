"""Learn from rows that would move the student where the gold rows do: after LESS (Xia et al. 2024, arXiv 2402.04333).

LESS compares projected gradients of a large model, Adam's for training rows, at several checkpoints. Here the gradient is that of the last
layer alone, of the student as it stands when the epoch begins, and the gold shots are the trusted set.
"""

from __future__ import annotations

import numpy as np

from tutelage.errors import ConfigError
from tutelage.selectors.protocol import EpochView, Floats
from tutelage.selectors.ranked import Ranked


class GradientSimilarity(Ranked):
    """Ranks an epoch's rows by the cosine between their gradient and the mean gradient of the gold rows, and keeps the first ones.

    The gold rows are those of the row's class, or all where the class has none. Gradients of length 0 have the cosine 0.

    Args:
        share: of the rows that is kept, in (0, 1].
        per_class: the share of each class as the teacher labelled; False: of all rows.
        refill: gather kept rows until a batch is full.

    Raises:
        ConfigError: ``share`` is outside (0, 1].
    """

    needs: frozenset[str] = frozenset({"epoch", "gradients"})

    def scores(self, view: EpochView) -> Floats:
        """Cosines, [M].

        Raises:
            ConfigError: the epoch has no gold row that the student can see.
            ValueError: the view has no gradients.
        """
        if view.gradients is None:
            raise ValueError("GradientSimilarity was given a view without gradients.")
        trusted = view.gold & np.isfinite(view.gradients).all(axis=1)
        if not trusted.any():
            raise ConfigError(
                f"selector=gradient_similarity compares rows with gold ones, and of this epoch's {len(view.ids)} rows none is gold. "
                "Give shots=1 or more with method.training.gold=shots, and method.train_on_shots=true where the method has that setting; or "
                "choose another selector=."
            )
        rows = _unit(view.gradients)
        scores = np.empty(len(rows))
        for key in np.unique(view.keys):
            own = view.keys == key
            guides = trusted & own if (trusted & own).any() else trusted
            scores[own] = rows[own] @ _unit(view.gradients[guides].mean(axis=0))
        return scores


def _unit(vectors: Floats) -> Floats:
    """Vectors of length 1, [..., P]; those of length 0 as they are."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        scaled: Floats = vectors / np.where(lengths == 0, 1.0, lengths)
    return scaled
