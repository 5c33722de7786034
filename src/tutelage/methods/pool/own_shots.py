"""Demonstrations that the teacher writes itself, for a run without a labelled example (FreeAL)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from time import perf_counter

from tutelage.methods.base import Cost, MethodContext
from tutelage.methods.generation.acceptance import Acceptance
from tutelage.methods.generation.duplicates import Repeats
from tutelage.methods.generation.entity_names import NameBook, Picker
from tutelage.methods.generation.lengths import examples_of
from tutelage.methods.generation.specs import GenerationSpec
from tutelage.methods.generation.writer import Writer
from tutelage.records import Example, Growth, Row, derive_seed
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.teacher.base import GenerateRequest, Sampling, Teacher
from tutelage.teacher.prompts import PromptSet

_SAMPLING = Sampling(temperature=0.8, top_p=0.95, stop=("\n",))
"""Sampling of a demonstration: that of a new text of EvoKD."""
_NEAR = 0.9
"""Similarity from which a demonstration repeats another, or a text of dev or test."""
_REASON = "a demonstration of the teacher's own, not trained on"


def own_shots(rows: Iterable[Row]) -> list[Example]:
    """Returns the demonstrations among the rows of a pool.

    Args:
        rows: The rows; those of :meth:`OwnShots.write` are demonstrations.
    """
    return [Example(row.id, row.text, row.target) for row in rows if row.reason == _REASON]


class OwnShots:
    """Lets the teacher write labelled examples of each class, from the class's description alone.

    After the first step of FreeAL (Xiao et al. 2023, arXiv 2311.15614). The paper's teacher also
    sees unlabelled texts, to imitate their style; a completion could not tell these from examples
    of the class, so here new texts only have the lengths of the pool's. For NER each text is
    written around a name that the teacher invents first, and this name is its only entity.

    Args:
        context: The parts of the run.
        prompts: The prompt templates.
        a_class: Demonstrations per class.
    """

    def __init__(self, context: MethodContext, prompts: PromptSet, a_class: int) -> None:
        self._context, self._leads, self._a_class = context, prompts.leads, a_class
        self._writer = Writer(prompts, _SAMPLING, texts_per_request=a_class)
        self._writer.fit(context.teacher, examples_of(context))
        self._names: NameBook | None = None
        if context.task.is_token_level:
            self._names = NameBook(context.task.labels, (), prompts, 1.0, per_request=a_class)

    def write(self, teacher: Teacher) -> Growth:
        """Returns rows that are not trained on, unusable and repeated texts among them.

        Args:
            teacher: The teacher.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        context, cost, names = self._context, Cost(), None
        if self._names is not None:
            began = perf_counter()
            context.on_phase("names", self._names.request_count(self._quota))
            new, asked, failed = self._names.invent(
                teacher, self._quota, context.seed, 0, context.on_reply
            )
            names = self._names.picker(new, ())
            cost = Cost(asked, failed, {"names": perf_counter() - began})
        began, specs = perf_counter(), self._specs(names)
        context.on_phase("generation", len(self._writer.batches(specs)))
        written = self._writer.write(
            teacher, specs, context.seed, 0, context.on_reply, context.task.labels
        )
        cost += Cost(seconds={"generation": perf_counter() - began})
        acceptance = Acceptance(None, LabelAgreement(), Repeats(context, _NEAR))
        growth = acceptance.grow(context, written, self._writer, 0, cost)
        # The student does not learn from them, as in the paper.
        return replace(
            growth,
            rows=tuple(
                replace(row, accepted=False, reason=row.reason or _REASON) for row in growth.rows
            ),
        )

    def requests(self) -> dict[str, Sequence[GenerateRequest]]:
        """Returns the requests by kind, for ``tutelage plan``; their names are not invented yet."""
        context = self._context
        if self._names is None:
            texts = self._writer.requests(self._specs(None), context.seed, 0, context.task.labels)
            return {"generation": texts}
        names = self._names.requests(self._quota, context.seed, 0)
        specs = self._specs(self._names.picker({}, ()))
        return {
            "generation": self._writer.requests(specs, context.seed, 0, context.task.labels),
            "names": names,
        }

    @property
    def _quota(self) -> dict[str, int]:
        return {label.name: self._a_class for label in self._context.task.labels}

    def _specs(self, names: Picker | None) -> list[GenerationSpec]:
        rng = random.Random(derive_seed("own shots", self._context.seed))
        specs = []
        for label in self._context.task.labels:
            for _ in range(self._a_class):
                name = names.pick(label.name, "easy", rng).words if names is not None else ""
                specs.append(
                    GenerationSpec(
                        label,
                        "easy",
                        (),
                        mentions=(name,) if names is not None else (),
                        # A chat places the name where it likes.
                        lead=rng.choice(self._leads) if names is not None and self._leads else None,
                    )
                )
        return specs
