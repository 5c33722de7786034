"""Labelling by an ensemble: the mean opinion of several prompts, of one teacher or of several."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft, Labelled, Nearest, Opinion, mean_distribution
from tutelage.labelling.calibration import Calibrator, FittedState
from tutelage.labelling.showing import Embed
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.records import Example, Label, LabelDistribution, derive_seed
from tutelage.selectors.measures import mutual_information
from tutelage.teacher.base import OnReply, Request, Teacher
from tutelage.teacher.prompts import PromptSet


@dataclass(frozen=True, slots=True)
class MemberTeacher:
    """A further teacher of an ensemble.

    Attributes:
        name: Its name; "" for the run's own.
        teacher: The teacher to ask.
        prompts: The prompt set, fitted to it.
        calibrator: Calibrates its probabilities; each of its members has a copy.
    """

    name: str
    teacher: Teacher
    prompts: PromptSet
    calibrator: Calibrator


def _unknown(name: str) -> MemberTeacher:
    raise ValueError(f"open_teacher, which builds the teacher {name!r}, was not given")


class EnsembleLabeller:
    """Labels whole texts by the mean of the calibrated distributions of several prompts.

    The members of a teacher differ in the order of the shots, and in their choice if there are more
    than ``max_demonstrations``: one order can cost a small teacher many points (Lu et al. 2022,
    Fantastically Ordered Prompts, arXiv 2104.08786). After MoLLIA (AAAI 2026; reconstructed from
    its summary), which averages several small teachers: ``teachers`` names more than the run's own.
    The first member has the prompts of ``labelling=text``. Each member is calibrated on its own,
    and all count alike.

    The teachers are asked one after another, and their billed tokens are added up.

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
        orders: Members of each teacher with demonstrations, each in another order; at least 1.
            Fewer if the shots have fewer orders. Tokens grow with the number of members.
        without_shots: Whether each teacher has one more member without demonstrations. A chat
            model is asked in messages there.
        teachers: Further teachers by name: the settings in which each differs from ``teacher``,
            such as ``labelling.teachers.coder.model=qwen2.5-coder-0.5b``. With ``_target_`` it is
            an engine of another kind, with nothing but its own settings. With
            ``teacher.lifecycle=restart`` one engine at a time is in memory.
        demonstrations: The shots in each prompt, if there are more than ``max_demonstrations``.
            "random": drawn for each text. "fixed": the same ones for every text, from as many
            classes as possible.
        max_demonstrations: Most shots in a prompt; at least 1.
        shortlist: Labels that a prompt lists, where there are more than twice as many; see
            :class:`tutelage.labelling.text_labeller.TextLabeller`.
        embed: Returns the embeddings of texts.
        seed: Seed of the run.
        open_teacher: Returns a further teacher by its name.

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
        teachers: Mapping[str, Mapping[str, Any]] | None = None,
        open_teacher: Callable[[str], MemberTeacher] = _unknown,
    ) -> None:
        if orders < 1:
            raise ConfigError(f"labelling.orders={orders} must be 1 or more.")
        if max_demonstrations < 1:
            raise ConfigError(
                f"labelling.max_demonstrations={max_demonstrations} must be 1 or more: the members "
                "differ in their demonstrations."
            )

        own = MemberTeacher("", teacher, prompts, calibrator)
        asked = [own, *(open_teacher(name) for name in teachers or {})]

        def member(
            one: MemberTeacher, some: Sequence[Example], near: Nearest | None, most: int
        ) -> TextLabeller:
            return TextLabeller(
                one.teacher,
                labels,
                one.prompts,
                some,
                deepcopy(one.calibrator),
                allow_codes,
                near,
                demonstrations,
                most,
                shortlist,
                embed,
                seed,
            )

        self._teachers = len(asked)
        self._names: list[str] = []
        self._members: list[TextLabeller] = []
        for one in asked:
            if nearest is None:
                found = [
                    member(one, some, None, max_demonstrations)
                    for some in _orders(shots, orders, seed)
                ]
            else:
                found = [
                    member(one, shots, _shuffled(nearest, seed, number), max_demonstrations)
                    for number in range(orders)
                ]
            if without_shots:
                found.append(member(one, shots, None, 0))
            self._members += found
            self._names += [one.name] * len(found)
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
        of = f" of {self._teachers} teachers" if self._teachers > 1 else ""
        return (
            f"Each text is labelled by {count} prompts{of} (labelling=ensemble), at {count} times "
            "the requests.",
            *self._members[0].notes,
        )

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Fits every member's calibrator; returns the number of gold labels of ``dev`` used."""
        return max([one.fit(dev, on_reply) for one in self._members])

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """Returns all requests that may label the drafts, member by member."""
        # Members number their requests alike.
        return [
            replace(request, id=f"{number}.{request.id}", teacher=name)
            for number, (name, one) in enumerate(zip(self._names, self._members, strict=True))
            for request in one.requests(drafts)
        ]

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
    """The state of several calibrators, whose kind may depend on the teacher."""

    def __init__(self, calibrators: Sequence[FittedState]) -> None:
        self._calibrators = calibrators
        self.name = " and ".join(dict.fromkeys(one.name for one in calibrators))
        self.needs: Literal["", "content_free", "dev"] = calibrators[0].needs

    def state_dict(self) -> dict[str, Any]:
        return {"members": [one.state_dict() for one in self._calibrators]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for one, own in zip(self._calibrators, state["members"], strict=True):
            one.load_state_dict(own)

    def freeze(self) -> None:
        for one in self._calibrators:
            one.freeze()


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
