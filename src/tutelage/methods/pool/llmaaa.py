"""LLMaAA: the student chooses the texts to label; each query shows the most similar gold examples.

After Zhang et al. 2023 (arXiv 2310.19596, EMNLP Findings): random texts first, then rounds of
acquisition (entropy, least confidence, k-means), with k nearest-neighbour demonstrations from a
small gold set, the most similar one last. Each round trains the student anew
(training.round_student=new), and a meta-gradient reweights its rows against that gold set
(loss=meta); conf/method/llmaaa.yaml sets both. Ours: similarity is the cosine of the student's own
current embeddings, and the virtual step of the reweighting is one of the head alone, unless
loss.parameters=all.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.errors import ConfigError
from tutelage.labelling.base import Labeller, NewLabeller
from tutelage.labelling.neighbours import Neighbours
from tutelage.methods.base import MethodContext
from tutelage.methods.pool.method import PoolLabelling
from tutelage.methods.pool.settings import LLMaAASettings
from tutelage.records import Example, Growth
from tutelage.selectors.protocol import Acquirer
from tutelage.teacher.prompts import PromptSet


class LLMaAA(PoolLabelling):
    """LLMaAA for both tasks; the shots are the gold set of the demonstrations.

    For NER, demonstrations come from the nearest sentences. With labelling=verify these are their
    entities and other span candidates, one per type; with labelling=extract whole sentences.

    Args:
        settings: The settings of the method.
        prompts: The prompt templates.
        acquirer: Chooses the texts to label in each round.
        new_labeller: Builds the labeller.
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
        """Draws the pool of the run and builds the labeller.

        Args:
            context: The parts of the run.

        Raises:
            ConfigError: There is no teacher, no pool, or no shot.
        """
        if not context.shots:
            raise ConfigError(
                f"method={self.name} picks its demonstrations from the shots, and there are none "
                "(shots=0, or training.gold=none). Give shots=1 or more and training.gold=shots."
            )
        super().setup(context)

    @property
    def foresees(self) -> str:
        """Nothing: the student chooses what the teacher is shown."""
        return "the demonstrations are chosen by the student"

    def first_rows(self) -> Growth:
        """Returns the first rows; a calibrator fitted on dev sees dev texts with neighbours too."""
        # Calibration labels dev texts before any pool text, with the same kind of prompt.
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
        """Labels examples with the current neighbours of each text as demonstrations."""
        self._see(examples)
        return super()._label(examples, scores, round, labeller)

    def _see(self, examples: Sequence[Example]) -> None:
        texts = [example.text for example in examples]
        view = self._context.view_pool(texts, [shot.text for shot in self._shots])
        self._neighbours = Neighbours(
            self._shots, view.labelled_embeddings(), texts, view.embeddings(), self._count
        )

    def _nearest(self, text: str) -> Sequence[Example]:
        """Returns the demonstrations of a text; without a student (planning), the first shots."""
        return self._shots[: self._count] if self._neighbours is None else self._neighbours(text)
