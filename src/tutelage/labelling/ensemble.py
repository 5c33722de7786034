"""Labelling by an ensemble: the mean opinion of several prompts of one teacher."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Literal

import numpy as np

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft, Labelled, Nearest, Opinion, mean_distribution
from tutelage.labelling.calibration import Calibrator, FittedState
from tutelage.labelling.scoring import TextLabeller
from tutelage.labelling.showing import Embed
from tutelage.records import Example, Label, LabelDistribution, derive_seed
from tutelage.selectors.measures import mutual_information
from tutelage.teacher.base import OnReply, Request, Teacher
from tutelage.teacher.prompts import PromptSet


class EnsembleLabeller:
    """Labels whole texts by the mean of the calibrated distributions of several prompts.

    The members differ in the order of the shots, and in their choice if there are more than
    ``max_demonstrations``: one order can cost a small teacher many points (Lu et al. 2022,
    Fantastically Ordered Prompts, arXiv 2104.08786). After MoLLIA (AAAI 2026; reconstructed from
    its summary), which averages several small teachers; here one teacher is asked several times,
    since a run has one engine. The first member has the prompts of ``labelling=text``. Each member
    is calibrated on its own.

    Every distribution carries the members' disagreement: the mutual information between member and
    label, divided by log C (:func:`tutelage.selectors.measures.mutual_information`). A selector
    reads it by ``select.confidence=agreement``.

    Args:
        teacher: The teacher to ask.
        labels: The label space.
        prompts: The prompt set; its template "score" is used.
        shots: Labelled examples, the demonstrations.
        calibrator: Calibrates the label probabilities; each member has a copy.
        allow_codes: Whether letters may stand for labels whose words begin with the same token, in
            texts to continue.
        nearest: Selects demonstrations for each text instead of ``shots``.
        orders: Members with demonstrations, each in another order; at least 1. Fewer if the shots
            have fewer orders. Tokens grow with the number of members.
        without_shots: Whether there is one more member without demonstrations. A chat model is
            asked in messages there.
        demonstrations: The shots in each prompt, if there are more than ``max_demonstrations``.
            "random": drawn for each text. "fixed": the same ones for every text, from as many
            classes as possible.
        max_demonstrations: Most shots in a prompt; at least 1.
        shortlist: Labels that a prompt lists, where there are more than twice as many; see
            :class:`tutelage.labelling.scoring.TextLabeller`.
        embed: Returns the embeddings of texts.
        seed: Seed of the run.

    Raises:
        ConfigError: A setting is out of range, there are fewer than two members, or the labels
            cannot be told apart.
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
        orders: int = 3,
        without_shots: bool = False,
        demonstrations: Literal["random", "fixed"] = "fixed",
        max_demonstrations: int = 8,
        shortlist: int | None = None,
        embed: Embed | None = None,
        seed: int = 0,
    ) -> None:
        if orders < 1:
            raise ConfigError(f"labelling.orders={orders} must be 1 or more.")
        if max_demonstrations < 1:
            raise ConfigError(
                f"labelling.max_demonstrations={max_demonstrations} must be 1 or more: the members "
                "differ in their demonstrations."
            )

        def member(own: Sequence[Example], near: Nearest | None, most: int) -> TextLabeller:
            return TextLabeller(
                teacher,
                labels,
                prompts,
                own,
                deepcopy(calibrator),
                allow_codes,
                near,
                demonstrations,
                most,
                shortlist,
                embed,
                seed,
            )

        if nearest is None:
            self._members = [
                member(own, None, max_demonstrations) for own in _orders(shots, orders, seed)
            ]
        else:
            self._members = [
                member(shots, _shuffled(nearest, seed, number), max_demonstrations)
                for number in range(orders)
            ]
        if without_shots:
            self._members.append(member(shots, None, 0))
        if len(self._members) < 2:
            raise ConfigError(
                f"labelling=ensemble needs two members or more, and labelling.orders={orders} with "
                f"{len(shots)} labelled shots gives {len(self._members)}. Give shots=1 and "
                "labelling.orders=2 or more, or labelling=text."
            )
        self.asks_student = self._members[0].asks_student

    @property
    def calibrator(self) -> FittedState:
        """The state of all members' calibrators."""
        return _Calibrators([one.calibrator for one in self._members])

    @property
    def asks_in_messages(self) -> bool:
        """Whether the prompts of its first member are chats."""
        return self._members[0].asks_in_messages

    @property
    def notes(self) -> tuple[str, ...]:
        """The number of members, and the notes of the first one."""
        count = len(self._members)
        return (
            f"Each text is labelled by {count} prompts (labelling=ensemble), at {count} times the "
            "requests.",
            *self._members[0].notes,
        )

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Fits every member's calibrator; returns the number of gold labels of ``dev`` used."""
        return max([one.fit(dev, on_reply) for one in self._members])

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """Returns all requests that may label the drafts, member by member."""
        return [request for one in self._members for request in one.requests(drafts)]

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Labels a batch of drafts, which each member's calibrator sees as one batch.

        A text has no opinion if a member has none, so that every mean is over the same members.

        Raises:
            TeacherError: None of a member's requests was answered.
        """
        labelled = [one.label(drafts, on_reply) for one in self._members]
        errors: dict[int, str] = {}
        for one in reversed(labelled):
            errors.update(one.errors)
        opinions = tuple(
            None
            if any(opinion is None for opinion in own)
            else Opinion(_together([opinion.distribution for opinion in own if opinion]))
            for own in zip(*(one.opinions for one in labelled), strict=True)
        )
        return Labelled(
            opinions,
            errors,
            asked=sum(one.asked for one in labelled),
            failed=sum(one.failed for one in labelled),
        )


class _Calibrators:
    """The state of several calibrators of one kind."""

    def __init__(self, calibrators: Sequence[FittedState]) -> None:
        self._calibrators = calibrators
        self.name = calibrators[0].name
        self.needs: Literal["", "content_free", "dev"] = calibrators[0].needs

    def state_dict(self) -> dict[str, Any]:
        return {"members": [one.state_dict() for one in self._calibrators]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for one, own in zip(self._calibrators, state["members"], strict=True):
            one.load_state_dict(own)


def _orders(shots: Sequence[Example], count: int, seed: int) -> list[tuple[Example, ...]]:
    """Returns up to ``count`` different orders of the shots, the given one first."""
    if not shots:
        return []
    found = {tuple(shots): None}
    rng = random.Random(derive_seed("ensemble", seed))
    # Nine shots have more orders than anybody asks for.
    while len(found) < min(count, math.factorial(min(len(shots), 9))):
        found[tuple(rng.sample(list(shots), len(shots)))] = None
    return list(found)


def _shuffled(nearest: Nearest, seed: int, member: int) -> Nearest:
    """Returns the same demonstrations in another order; member 0 has the given one."""

    def found(text: str) -> Sequence[Example]:
        own = list(nearest(text))
        if member:
            random.Random(derive_seed("ensemble", seed, member, text)).shuffle(own)
        return own

    return found


def _together(members: Sequence[LabelDistribution]) -> LabelDistribution:
    """Returns the members' mean, with their disagreement."""
    from scipy.special import entr

    each = np.array([one.probabilities for one in members])
    apart = mutual_information(each.mean(axis=0), entr(each).sum(axis=1).mean())
    classes = max(2, each.shape[1])
    return mean_distribution(members, round(min(float(apart) / math.log(classes), 1.0), 6))
