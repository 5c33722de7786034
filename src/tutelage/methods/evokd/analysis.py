"""The analysis of a round: what the teacher says of the student's mistakes.

One sentence or a plan for all of them (EvoKD, PGKD), or an explanation of each (ELAD).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from tutelage.methods.base import Cost, MethodContext
from tutelage.methods.evokd.demonstrations import ranked_pairs
from tutelage.methods.evokd.explanations import (
    Explanation,
    as_text,
    explain_request,
    read_explanations,
)
from tutelage.methods.evokd.planner import RoundInput, studied
from tutelage.methods.evokd.settings import EvoKDSettings
from tutelage.methods.generation.artefacts import clean
from tutelage.methods.generation.chatter import is_refusal
from tutelage.records import derive_seed
from tutelage.teacher.base import GenerateRequest, Sampling, Teacher
from tutelage.teacher.marks import unmarked
from tutelage.teacher.prompts import PromptSet

_PAIRS = 3
"""Confused pairs that the analysis names."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The teacher's analysis of the student's mistakes.

    Attributes:
        text: The analysis, or all explanations; "" if there is none.
        prompt: The prompt as sent; "" if nothing was sent.
        cost: The request and its time.
        explanations: The explanations of single mistakes (ELAD); None for an analysis of all.
    """

    text: str = ""
    prompt: str = ""
    cost: Cost = field(default_factory=Cost)
    explanations: tuple[Explanation, ...] | None = None

    def for_class(self, name: str) -> str:
        """Returns what the hard prompts of a class show of it.

        Args:
            name: The class. Of single explanations it is shown those of the mistakes that it takes
                part in, as the correct class or as the predicted one.
        """
        if self.explanations is None:
            return self.text
        return as_text(one for one in self.explanations if name in one.classes)


class Analyst:
    """Asks the teacher for the analysis of a round.

    Args:
        context: The parts of the run.
        teacher: The teacher to ask.
        settings: The settings of the method.
        prompts: The prompt templates.
    """

    def __init__(
        self,
        context: MethodContext,
        teacher: Teacher,
        settings: EvoKDSettings,
        prompts: PromptSet,
    ) -> None:
        self._context = context
        self._teacher = teacher
        self._settings = settings
        self._prompts = prompts

    @property
    def is_asked(self) -> bool:
        """Whether the settings ask for analyses."""
        settings = self._settings
        # An analysis that nothing is written from would be paid for in vain.
        writes = bool(settings.n_hard or settings.n_easy)
        follows = settings.follows_mistakes and settings.seeds != "loss"
        return settings.analysis and writes and follows

    @property
    def needs_mistakes(self) -> bool:
        """Whether right outcomes alone leave nothing to analyse.

        A chat model would invent a weakness; the text to continue has always been asked.
        """
        return self._settings.explanations or self._prompts.asks_in_messages("analysis")

    def has_work(self, given: RoundInput) -> bool:
        """Returns whether a round has outcomes to analyse."""
        shown = given.demonstrations
        some = bool(shown.wrong or (not self.needs_mistakes and shown.correct))
        return self.is_asked and some

    def analyse(self, given: RoundInput) -> Analysis:
        """Returns the analysis of a round; an empty one where there is nothing to analyse.

        Args:
            given: The input of the round.

        Raises:
            BudgetExhausted: The token budget ran out.
        """
        if not self.has_work(given):
            return Analysis()
        began = perf_counter()
        self._context.on_phase("analysis", 1)
        # A failed analysis costs only itself: the round continues without one.
        request = self.request(given, given.round)
        reply = self._teacher.ask([request], self._context.on_reply)[0]
        cost = Cost(1, int(bool(reply.error)), {"analysis": perf_counter() - began})
        if self._settings.explanations:
            wrong = given.demonstrations.wrong
            explanations = read_explanations(self._context.task, wrong, reply)
            return Analysis(as_text(explanations), str(request.prompt), cost, explanations)
        found = unmarked(reply.text)
        text = "" if found.fault or is_refusal(found.text.strip()) else self._read(found.text)
        return Analysis(text, str(request.prompt), cost)

    def request(self, given: RoundInput, round: int) -> GenerateRequest:
        """Returns the request for the analysis of a round.

        Args:
            given: The input of the round.
            round: The round, for the seed.
        """
        task, demonstrations = self._context.task, given.demonstrations
        seed = derive_seed("analysis", self._context.seed, round, bits=31)
        most = self._settings.analysis_tokens
        if self._settings.explanations:
            return explain_request(task, self._prompts, demonstrations.wrong, most, seed)
        is_chat = self._prompts.asks_in_messages("analysis")
        by_name = {label.name: label for label in task.labels}
        variables = studied(task, given.feedback, demonstrations)
        if not self._settings.class_report:
            variables["report"] = {}
        prompt = self._prompts.render(
            "analysis",
            **variables,
            pairs=[
                {"target": by_name[right], "predicted": by_name[predicted], "count": count}
                for (right, predicted), count in ranked_pairs(demonstrations.pairs)[:_PAIRS]
            ],
        )
        return GenerateRequest(
            id="analysis",
            prompt=prompt,
            # One analysis per round, without randomness.
            sampling=Sampling(
                temperature=0.0,
                max_tokens=most or (160 if is_chat else 48),
                stop=() if is_chat else ("\n",),
            ),
            seed=seed,
        )

    def _read(self, analysis: str) -> str:
        """A continuation is one line; an answer may have several."""
        if not self._prompts.asks_in_messages("analysis"):
            return clean(analysis)
        return " ".join(filter(None, map(clean, analysis.splitlines())))
