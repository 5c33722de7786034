"""+Init: texts made from the shots before the first round of EvoKD."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from tutelage.errors import ConfigError
from tutelage.methods.base import MethodContext
from tutelage.methods.evokd.demonstrations import as_shown
from tutelage.methods.evokd.settings import EvoKDSettings
from tutelage.methods.generation.augmentation import Augmentation
from tutelage.methods.generation.entity_names import Picker
from tutelage.methods.generation.mentions import mentions_of
from tutelage.methods.generation.specs import Candidate, GenerationSpec
from tutelage.records import Label, Row, Source
from tutelage.tasks.protocol import Task
from tutelage.teacher.prompts import PromptSet

MODES = ("rewrite", "replace", "both")
"""LLM-DA's ways of changing a sentence used here: all but noise."""


def paraphrase_spec(task: Task, row: Row, label: Label, kind: Source, style: str) -> GenerationSpec:
    """Specifies a paraphrase of a row; for NER one that keeps all entities.

    Args:
        task: The task.
        row: The row.
        label: The class that the paraphrase is counted under.
        kind: Source of the future row.
        style: One cell of the attribute grid.
    """
    shown = as_shown(task, row.text, row.target)
    types = [type for _, type in mentions_of(row.text, row.target)] if shown.mentions else ()
    return GenerationSpec(
        label,
        kind,
        (shown,),
        (row.id,),
        mentions=shown.mentions,
        types=tuple(types),
        style=style,
        template="" if kind == "init" else "paraphrase",
    )


class InitPlanner:
    """Plans ``n_init`` variants of the shots: paraphrases, or for NER LLM-DA's variants.

    Args:
        context: The parts of the run.
        settings: The settings of the method.
        prompts: The prompt templates.
        styles: The cells of the attribute grid; each paraphrase draws one.

    Raises:
        ConfigError: LLM-DA is set, and the task, the shots or the prompts do not allow it.
    """

    def __init__(
        self,
        context: MethodContext,
        settings: EvoKDSettings,
        prompts: PromptSet,
        styles: Sequence[str],
    ) -> None:
        self._context, self._task = context, context.task
        self._settings = settings
        self._styles = styles
        self._labels = {label.name: label for label in context.task.labels}
        self._augmentation = self._new_augmentation(prompts)

    @property
    def augments(self) -> bool:
        """True if the texts are LLM-DA's variants of the shots."""
        return self._augmentation is not None

    def names_needed(self, rng: random.Random) -> Mapping[str, int]:
        """Returns the number of names to invent, by type.

        Args:
            rng: Makes the draws of the round.
        """
        if self._augmentation is None:
            return {}
        return self._augmentation.wanted(self._augmentation.turns(1, (), rng))

    def plan(
        self, shots: Sequence[Row], rng: random.Random, names: Picker | None
    ) -> tuple[list[GenerationSpec], list[Candidate]]:
        """Plans the texts.

        Args:
            shots: The rows of the shots.
            rng: Makes the draws of the round.
            names: The names of the round; None for tasks without entities.

        Returns:
            The specifications of the texts to request, and the texts made without a request.
        """
        if self._augmentation is None or names is None:
            return self._paraphrases(shots, rng), []
        return self._augmentation.drafts(self._augmentation.turns(1, (), rng), names, rng)

    def _new_augmentation(self, prompts: PromptSet) -> Augmentation | None:
        settings, is_token_level = self._settings, self._task.is_token_level
        # By default NER uses LLM-DA's variants, and classification paraphrases.
        if settings.init == "llm_da" and not is_token_level:
            raise ConfigError(
                "method.init=llm_da keeps the entities of sentences, and this task has none. Take "
                "method.init=paraphrase."
            )
        if not settings.n_init or not is_token_level or settings.init == "paraphrase":
            return None
        prompts.require("rewrite")
        return Augmentation(
            self._context,
            "init",
            settings.n_init,
            MODES,
            prompts.strategies,
            settings.invented_names,
        )

    def _paraphrases(self, shots: Sequence[Row], rng: random.Random) -> list[GenerationSpec]:
        """Plans paraphrases, shared evenly by the shots; for NER they keep all entities."""
        # A NER shot without an entity has no type to write a sentence of.
        shots = [row for row in shots if self._task.classes(row.target)[0] in self._labels]
        if not shots and self._settings.n_init:
            raise ConfigError(
                f"method.n_init={self._settings.n_init} asks for variants of shots with entities, "
                "and no shot has one. Give shots with marked entities, or take method.n_init=0."
            )
        # Go around the shots, then write all paraphrases of a shot together.
        chosen = [shots[number % len(shots)] for number in range(self._settings.n_init)]
        return [
            paraphrase_spec(
                self._task,
                row,
                self._labels[self._task.classes(row.target)[0]],
                "init",
                rng.choice(self._styles),
            )
            for row in sorted(chosen, key=shots.index)
        ]
