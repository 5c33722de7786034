"""Labelling by boosted rules: the teacher writes rules, each of which labels, and they vote.

After Manikandan, Jiang and Kolter 2023 ("Language models are weak learners", arXiv 2306.14101): in
each round the model summarises some of the labelled examples, the hard ones more often, and the
summary as a prompt is a weak learner of AdaBoost. Several classes are boosted by SAMME (Zhu et al.
2009, "Multi-class AdaBoost"), as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, TeacherError
from tutelage.labelling.base import Draft, Labelled, Nearest, Opinion
from tutelage.labelling.calibration import Calibrator, FittedState
from tutelage.labelling.showing import Embed, class_by_class
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.records import Example, Label, LabelDistribution, derive_seed
from tutelage.teacher.base import GenerateRequest, OnReply, Reply, Request, Sampling, Teacher
from tutelage.teacher.marks import unmarked
from tutelage.teacher.prompts import PromptSet

Floats = NDArray[np.float64]

_RULE_TOKENS = 120
"""Longest rule; prompts show 128 tokens of it (``prompt.shown_tokens``)."""
_STAND_IN = "stands in for a rule of the teacher, which it writes from labelled examples. " * 5
"""As long as a rule, to estimate costs before there are rules."""


def samme(weights: Floats, wrong: NDArray[np.bool_], classes: int) -> tuple[float, Floats] | None:
    """Does one step of SAMME (Zhu et al. 2009).

    Args:
        weights: Weights of the examples, [N], with sum 1.
        wrong: Which ones the learner has wrong, [N].
        classes: Number of classes K.

    Returns:
        The learner's vote log((1 − e) / e) + log(K − 1) with its weighted error e, and the new
        weights. An error below half an example counts as that, so that no vote is infinite. None
        for a learner that is no better than guessing, e ≥ 1 − 1/K.
    """
    error = max(float(weights[wrong].sum()), 0.5 / len(weights))
    if error >= 1 - 1 / classes - 1e-12:
        return None
    vote = math.log((1 - error) / error) + math.log(classes - 1)
    raised = weights * np.exp(vote * wrong)
    return vote, raised / raised.sum()


@dataclass(frozen=True, slots=True)
class _Learner:
    """A rule that votes.

    Attributes:
        rule: The rule.
        vote: The weight of its vote.
        calibrator: Calibrates its probabilities.
        labeller: Labels by the rule.
    """

    rule: str
    vote: float
    calibrator: Calibrator
    labeller: TextLabeller


class BoostedLabeller:
    """Labels whole texts by the weighted vote of rules that the teacher wrote.

    In each round the teacher sees some labelled examples, drawn by their weights and spread over
    the classes, and writes a rule. The rule stands in the labelling prompt in place of
    demonstrations, and labels all labelled examples; its weighted error gives its vote and the next
    round's weights (:func:`samme`). A rule that does not beat guessing has no vote. The label of a
    text is the one with most votes, and its distribution the shares of the votes. Each rule is
    calibrated on its own.

    Unlike in the paper, the examples of a rule are drawn without clusters, and a rule no better
    than guessing costs its round.

    Args:
        teacher: The teacher to ask.
        labels: The label space.
        prompts: The prompt set; its templates "rule" and "score" are used.
        shots: Labelled examples.
        calibrator: Calibrates the label probabilities; each rule has a copy.
        allow_codes: Whether letters may stand for labels whose words begin with the same token, in
            texts to continue.
        nearest: Must be None: rules stand in place of demonstrations.
        learners: Rounds of boosting, and so the most rules; at least 2. Tokens grow with it.
        rule_examples: Most examples that a rule is written from, and no more than half of all; at
            least 1.
        with_dev: Whether the dev examples are learnt from too; they then count as gold labels.
        shortlist: Labels that a prompt lists, where there are more than twice as many; see
            :class:`tutelage.labelling.text_labeller.TextLabeller`.
        embed: Returns the embeddings of texts.
        seed: Seed of the run.

    Raises:
        ConfigError: A setting is out of range, demonstrations are chosen elsewhere, there is no
            labelled example, or the template "score" does not show the rule.
    """

    is_token_level = False

    def __init__(
        self,
        teacher: Teacher,
        labels: Sequence[Label],
        prompts: PromptSet,
        shots: Sequence[Example],
        calibrator: Calibrator,
        allow_codes: bool = True,
        nearest: Nearest | None = None,
        learners: int = 5,
        rule_examples: int = 12,
        with_dev: bool = False,
        shortlist: int | None = None,
        embed: Embed | None = None,
        seed: int = 0,
    ) -> None:
        for name, value, least in (("learners", learners, 2), ("rule_examples", rule_examples, 1)):
            if value < least:
                raise ConfigError(f"labelling.{name}={value} must be {least} or more.")
        if nearest is not None:
            raise ConfigError(
                "labelling=boosted shows rules and no demonstrations, and this method (or "
                "tune-prompt) chooses demonstrations for each text. Give labelling=text."
            )
        prompts.require("rule")
        self._teacher, self._labels, self._prompts = teacher, tuple(labels), prompts
        self._words = {label.name: label.word for label in labels}
        self._shots = [shot for shot in shots if shot.label is not None]
        if not self._shots and not with_dev:
            raise ConfigError(
                "labelling=boosted learns from labelled examples, and there are no shots. Give "
                "shots=4, or labelling.with_dev=true."
            )
        self._calibrator, self._allow_codes = calibrator, allow_codes
        self._rounds, self._rule_examples, self._with_dev = learners, rule_examples, with_dev
        self._shortlist, self._embed, self._seed = shortlist, embed, seed
        self._learners: list[_Learner] = []
        # Before there are rules, for what a plan and a run tell.
        self._stand_ins = [
            self._labeller(f"This one ({number + 1}) {_STAND_IN}", deepcopy(calibrator))
            for number in range(learners)
        ]
        self.asks_student = self._stand_ins[0].asks_student
        first, second = (one.requests([Draft("text")])[0].prompt for one in self._stand_ins[:2])
        if first == second:
            way = "chat" if self.asks_in_messages else "completion"
            raise ConfigError(
                f"prompt.{way}.score does not show the variable `rule`, by which labelling=boosted "
                "asks. Put {{ rule | line }} into it, or give labelling=text."
            )

    @property
    def calibrator(self) -> FittedState:
        """The state of all rules and of their calibrators."""
        return _Rules(self._calibrator, self)

    @property
    def asks_in_messages(self) -> bool:
        """Whether its labelling prompts are chats."""
        return self._stand_ins[0].asks_in_messages

    @property
    def notes(self) -> tuple[str, ...]:
        """The number of rules, and what they are learnt from."""
        examples = f"{len(self._shots)} shots" + (" and the dev examples" if self._with_dev else "")
        return (
            f"Each text is labelled by the votes of up to {self._rounds} rules "
            f"(labelling=boosted), one request each. The teacher writes them from the {examples}, "
            "and tries each one on all of these.",
            *self._stand_ins[0].notes,
        )

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Boosts, and fits the calibrator of every rule.

        Returns:
            The number of gold labels of ``dev`` used.

        Raises:
            ConfigError: There is no labelled example.
            TeacherError: The teacher wrote no rule, no rule is better than guessing, or no request
                for labels was answered.
        """
        more = [one for one in dev if one.label is not None] if self._with_dev else []
        gold = [*self._shots, *more]
        if not gold:
            raise ConfigError("labelling=boosted has neither shots nor dev examples. Give shots=4.")
        weights = np.full(len(gold), 1 / len(gold))
        used, self._learners = len(more), []
        unwritten: list[str] = []
        for number in range(self._rounds):
            reply = self._teacher.ask([self._rule_request(gold, weights, number)], on_reply)[0]
            if not (rule := _rule_of(reply)):
                unwritten.append(reply.error or "the reply was empty")
                continue
            calibrator = deepcopy(self._calibrator)
            labeller = self._labeller(rule, calibrator)
            used = max(used, labeller.fit(dev, on_reply))
            # A copy labels the examples: the statistics of a calibrator are those of the pool.
            judge = self._labeller(rule, deepcopy(calibrator))
            step = samme(weights, _wrong(judge, gold, on_reply), len(self._labels))
            if step is not None:
                vote, weights = step
                self._learners.append(_Learner(rule, vote, calibrator, labeller))
        if len(unwritten) == self._rounds:
            raise TeacherError(
                f"None of {self._rounds} requests for a rule (labelling=boosted) brought one: "
                f"{unwritten[0]}. Try again, take another teacher, or give labelling=text."
            )
        if not self._learners:
            raise TeacherError(
                f"None of {self._rounds - len(unwritten)} rules labels the {len(gold)} labelled "
                "examples better than guessing (labelling=boosted). Take a more capable teacher, "
                "or give labelling=text."
            )
        return used

    def preparation(self) -> dict[str, list[Request]]:
        """Returns the requests of :meth:`fit` over the shots, with rules that stand in.

        Without shots there are none, since dev is not known yet.
        """
        if not self._shots:
            return {}
        even = np.full(len(self._shots), 1 / len(self._shots))
        rounds = range(self._rounds)
        drafts = [Draft(shot.text) for shot in self._shots]
        return {
            "rules": [self._rule_request(self._shots, even, number) for number in rounds],
            "boosting": self._requests(self._stand_ins, drafts),
        }

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """Returns all requests that may label the drafts, rule by rule."""
        found = [one.labeller for one in self._learners]
        return self._requests(found or self._stand_ins, drafts)

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Labels a batch of drafts, which each rule's calibrator sees as one batch.

        A text has no opinion if a rule has none, so that every vote is by the same rules.

        Raises:
            TeacherError: None of a rule's requests was answered.
        """
        labelled = [one.labeller.label(drafts, on_reply) for one in self._learners]
        votes = [one.vote for one in self._learners]
        errors: dict[int, str] = {}
        for one in reversed(labelled):
            errors.update(one.errors)
        opinions = tuple(
            None
            if any(opinion is None for opinion in own)
            else Opinion(voted([opinion.distribution for opinion in own if opinion], votes))
            for own in zip(*(one.opinions for one in labelled), strict=True)
        )
        return Labelled(
            opinions,
            errors,
            asked=sum(one.asked for one in labelled),
            failed=sum(one.failed for one in labelled),
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns the rules with their votes and their calibrators' states."""
        return {
            "rules": [
                {"rule": one.rule, "vote": one.vote, "calibrator": one.calibrator.state_dict()}
                for one in self._learners
            ]
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state returned by :meth:`state_dict`."""
        self._learners = []
        for own in state["rules"]:
            calibrator = deepcopy(self._calibrator)
            calibrator.load_state_dict(own["calibrator"])
            labeller = self._labeller(own["rule"], calibrator)
            self._learners.append(_Learner(own["rule"], own["vote"], calibrator, labeller))

    def freeze(self) -> None:
        """Freezes the calibrators of all rules."""
        for one in self._learners:
            one.calibrator.freeze()

    def _labeller(self, rule: str, calibrator: Calibrator) -> TextLabeller:
        return TextLabeller(
            self._teacher,
            self._labels,
            self._prompts,
            self._shots,
            calibrator,
            self._allow_codes,
            max_demonstrations=0,
            shortlist=self._shortlist,
            embed=self._embed,
            seed=self._seed,
            rule=rule,
        )

    def _requests(
        self, labellers: Sequence[TextLabeller], drafts: Sequence[Draft]
    ) -> list[Request]:
        # All of them number their requests alike.
        return [
            replace(request, id=f"{number}.{request.id}")
            for number, one in enumerate(labellers)
            for request in one.requests(drafts)
        ]

    def _rule_request(
        self, gold: Sequence[Example], weights: Floats, number: int
    ) -> GenerateRequest:
        """Asks for a rule for some examples, drawn by their weights without replacement."""
        rng = np.random.default_rng(derive_seed("boosted", self._seed, number))
        # The keys of Efraimidis and Spirakis 2006; by class, so that no rule leaves one out.
        order = np.argsort(np.log(rng.random(len(gold))) / weights)[::-1].tolist()
        turns = class_by_class([gold[at].label for at in order])
        chosen = [gold[order[turn]] for turn in turns[: self._size(len(gold))]]
        is_chat = self._prompts.asks_in_messages("rule")
        return GenerateRequest(
            id=f"rule-{number}",
            prompt=self._prompts.render(
                "rule",
                labels=self._labels,
                demonstrations=[
                    {"text": one.text, "word": self._words[str(one.label)]} for one in chosen
                ],
            ),
            # Few examples give much the same prompt each round, and need not give the same rule.
            sampling=Sampling(
                temperature=0.7,
                top_p=0.95,
                max_tokens=_RULE_TOKENS,
                stop=() if is_chat else ("\n",),
            ),
            seed=derive_seed("boosted", self._seed, number, bits=31),
        )

    def _size(self, gold: int) -> int:
        # A rule written from all examples leaves nothing to boost.
        return min(self._rule_examples, math.ceil(gold / 2))


class _Rules:
    """The state of boosted rules, as that of a calibrator."""

    def __init__(self, calibrator: Calibrator, labeller: BoostedLabeller) -> None:
        self.name, self.needs = calibrator.name, calibrator.needs
        self.state_dict = labeller.state_dict
        self.load_state_dict = labeller.load_state_dict
        self.freeze = labeller.freeze


def _rule_of(reply: Reply) -> str:
    """Returns the rule of a reply, on one line; "" if it has none."""
    return "" if reply.error else " ".join(unmarked(reply.text).text.split())


def voted(members: Sequence[LabelDistribution], votes: Sequence[float]) -> LabelDistribution:
    """Returns the shares of the votes that each label has, with the members' disagreement.

    The disagreement is the entropy of the shares by log C, which is the mutual information between
    member and label where each member names one label.

    Args:
        members: The distributions of the members, over the same labels.
        votes: Weight of each member.
    """
    labels, total = members[0].labels, math.fsum(votes)

    def shares(named: Sequence[int]) -> tuple[float, ...]:
        counted = dict.fromkeys(range(len(labels)), 0.0)
        for label, vote in zip(named, votes, strict=True):
            counted[label] += vote
        return tuple(round(count / total, 6) for count in counted.values())

    found = shares([labels.index(one.top) for one in members])
    entropy = -math.fsum(share * math.log(share) for share in found if share)
    mass = math.fsum(v * one.off_label_mass for v, one in zip(votes, members, strict=True)) / total
    return LabelDistribution(
        labels,
        found,
        round(mass, 6),
        shares([int(np.argmax(one.raw)) for one in members]),
        round(min(entropy / math.log(max(2, len(labels))), 1.0), 6),
    )


def _wrong(
    labeller: TextLabeller, gold: Sequence[Example], on_reply: OnReply | None
) -> NDArray[np.bool_]:
    """Returns which examples a labeller has wrong; one without an answer counts as wrong."""
    labelled = labeller.label([Draft(one.text) for one in gold], on_reply)
    return np.array(
        [
            opinion is None or opinion.distribution.top != one.label
            for one, opinion in zip(gold, labelled.opinions, strict=True)
        ]
    )
