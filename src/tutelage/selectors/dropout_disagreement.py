"""The texts on which the student contradicts itself."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.errors import ConfigError
from tutelage.selectors.protocol import Acquired, PoolView
from tutelage.selectors.ranking import best_first, wanted


class DropoutDisagreement:
    """Chooses the texts whose prediction depends most on which weights dropout leaves out.

    BALD (Houlsby et al. 2011) over dropout masks (Gal, Islam and Ghahramani 2017, section 4): high where each pass is sure and the passes
    contradict one another, low where all are unsure alike. ELAD's choice of samples (Zhang et al. 2024) for encoders. The score is the
    mutual information in nats. Costs ``passes`` forward passes over the pool.

    Args:
        passes: over each text; at least 2.

    Raises:
        ConfigError: there are fewer.
    """

    stage: Literal["acquire"] = "acquire"

    def __init__(self, passes: int = 10) -> None:
        if passes < 2:
            raise ConfigError(f"selector.passes={passes} passes cannot disagree; give 2 or more.")
        self._passes = passes

    def query(self, view: PoolView, n: int, chance: np.random.Generator) -> Acquired:
        """The ``n`` texts of most disagreement, in falling order; see :class:`~tutelage.selectors.protocol.Acquirer`."""
        count = wanted(n, len(view.texts))
        return best_first(view.disagreement(self._passes), count)
