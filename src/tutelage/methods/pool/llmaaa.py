"""LLMaAA: the student chooses what the teacher labels, and each label is asked for beside the gold examples most like the text.

After Zhang et al. 2023 (arXiv 2310.19596, EMNLP Findings): random texts first, then rounds of what the student wants (entropy, least
confidence, k-means: the acquisition selector), and k nearest-neighbour demonstrations from a small gold set, the most similar last. Its
reweighting against that gold set is a loss here (loss=meta). Ours: similarity is the cosine of the student's own embeddings at that moment,
and the student goes on from round to round where the paper trains it anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.errors import ConfigError
from tutelage.labelling.base import Labeller, NewLabeller
from tutelage.methods.base import MethodContext
from tutelage.methods.pool.method import PoolLabelling
from tutelage.methods.pool.neighbours import Neighbours
from tutelage.methods.pool.settings import LLMaAASettings
from tutelage.records import Example, Growth
from tutelage.selectors.protocol import Acquirer
from tutelage.teacher.prompts import PromptSet


class LLMaAA(PoolLabelling):
    """The method, for both tasks. The shots are the gold set that the demonstrations are picked from.

    For NER the nearest sentences are those that the teacher's demonstrations are taken from; with labelling=verify these are their
    entities and other candidates, one of each type, and with extract the sentences whole.

    """

    settings_type = LLMaAASettings

    def __init__(
        self,
        settings: LLMaAASettings,
        prompts: PromptSet,
        acquirer: Acquirer,
        new_labeller: NewLabeller,
    ) -> None:
        super().__init__(settings, prompts, acquirer, new_labeller)
        self._count = settings.demonstrations
        self._neighbours: Neighbours | None = None

    def setup(self, context: MethodContext) -> None:
        """As pool labelling does.

        Raises:
            ConfigError: there is no teacher, no pool, or no shot to pick demonstrations from.
        """
        if not context.shots:
            raise ConfigError(
                f"method={self.name} picks its demonstrations from the shots, and there are none (shots=0, or training.gold=none); give "
                "shots=1 or more and training.gold=shots."
            )
        super().setup(context)

    def first_rows(self) -> Growth:
        """As pool labelling does; a calibrator that is fitted on dev sees it with neighbours too."""
        if self._labeller.calibrator.needs == "dev":
            self._see(self._context.dev)
        return super().first_rows()

    def _build_labeller(self) -> Labeller:
        return self._new_labeller(self._context.task, self._teacher, self._shots, self._nearest)

    def _label(
        self,
        examples: Sequence[Example],
        scores: Sequence[str],
        round: int,
        labeller: Labeller | None = None,
    ) -> Growth:
        """As pool labelling does, beside the neighbours that each text has at this moment."""
        self._see(examples)
        return super()._label(examples, scores, round, labeller)

    def _see(self, examples: Sequence[Example]) -> None:
        texts = [example.text for example in examples]
        view = self._context.view_pool(texts, [shot.text for shot in self._shots])
        self._neighbours = Neighbours(
            self._shots, view.labelled_embeddings(), texts, view.embeddings(), self._count
        )

    def _nearest(self, text: str) -> Sequence[Example]:
        """The demonstrations of ``text``; some of the shots before any text was seen, as when a run is planned."""
        return self._shots[: self._count] if self._neighbours is None else self._neighbours(text)
