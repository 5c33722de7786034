"""Labels of whole texts: which shots and labels a prompt shows, and what the teacher is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tutelage.labelling.base import Draft, Labelled, Nearest, Opinion
from tutelage.labelling.calibration import Calibrator, FittedState
from tutelage.labelling.demonstration_scores import Trials, trials
from tutelage.labelling.scoring import LabelScorer, Query, Shown
from tutelage.labelling.showing import Embed, ScoredChoice, Shortlist, ShotChoice
from tutelage.records import Example, Label
from tutelage.teacher.base import OnReply, Request, Teacher
from tutelage.teacher.prompts import PromptSet


class TextLabeller:
    """Labels whole texts, with one scoring request per text, or a few where labels begin alike.

    Where there are many labels, the prompt of a text lists some of them only, and the others get
    the probability 0.

    Args:
        teacher: The teacher to ask.
        labels: The label space.
        prompts: The prompt set; its template "score" is used.
        shots: Labelled examples, the demonstrations.
        calibrator: Calibrates the label probabilities.
        allow_codes: Whether letters may stand for labels whose words begin with the same token, in
            texts to continue. Otherwise, and in chats, such labels are told apart by their later
            tokens, with up to one more request for each beginning that labels share.
        nearest: Selects demonstrations for each text instead of ``shots``.
        demonstrations: The shots in the prompt of each text, if there are more than
            ``max_demonstrations``. "nearest": the most similar ones by the embeddings of the
            student's encoder before its training, the most similar one last. "random": drawn for
            each text. "fixed": the same ones for every text, from as many classes as possible.
            "predictive": likewise, but of each class those that alone raise the teacher's
            probability of the other shots' labels most, asked once per run
            (:mod:`tutelage.labelling.demonstration_scores`).
        max_demonstrations: Most shots in a prompt; 0 shows none. No more shots than that are all
            shown, in one order.
        shortlist: Labels that a prompt lists and the teacher chooses from, if there are more than
            twice as many: those most similar to the text by their words, descriptions and shots,
            and up to half of them by the student. At least 2; null always lists all labels.
        embed: Returns the embeddings of texts.
        seed: Seed of the run, for ``demonstrations=random``.
        rule: A rule for the labels, which stands in every prompt; "" for none.

    Raises:
        ConfigError: A setting is out of range, or the labels cannot be told apart; see
            :func:`tutelage.labelling.verbalizer.verbalize`.
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
        demonstrations: ScoredChoice = "fixed",
        max_demonstrations: int = 8,
        shortlist: int | None = None,
        embed: Embed | None = None,
        seed: int = 0,
        rule: str = "",
    ) -> None:
        labelled = [shot for shot in shots if shot.label is not None]
        self._labels = tuple(labels)
        self._nearest = nearest
        self._shots = ShotChoice(labelled, max_demonstrations, demonstrations, embed, seed)
        self._shortlist = (
            Shortlist(labels, labelled, embed, shortlist)
            if shortlist is not None and embed is not None and len(labels) > 2 * shortlist
            else None
        )
        self.asks_student = self._shortlist is not None
        self._scorer = LabelScorer(
            teacher,
            labels,
            prompts,
            (),
            calibrator,
            allow_codes,
            self._shown,
            # A few shots of many labels do not show what there is to choose from; a list does.
            demonstrated=self._shortlist is None
            and (nearest is not None or bool(labelled and max_demonstrations)),
            rule=rule,
        )
        self._scores_shots = nearest is None and self._shots.needs_scores
        self.calibrator: FittedState = (
            ScoredShots(calibrator, self._shots) if self._scores_shots else calibrator
        )

    @property
    def asks_in_messages(self) -> bool:
        """Whether its prompts are chats."""
        return self._scorer.asks_in_messages

    @property
    def notes(self) -> tuple[str, ...]:
        """How its shots are chosen by scores, and how well its shortlist does on them."""
        return (*self._scoring_note, *self._shortlist_note)

    @property
    def _scoring_note(self) -> tuple[str, ...]:
        if not self._scores_shots:
            return ()
        count = len(trials(self._shots.shots).pairs)
        return (
            f"The demonstrations are chosen by {count:,} requests before the first label "
            "(labelling.demonstrations=predictive).",
        )

    @property
    def _shortlist_note(self) -> tuple[str, ...]:
        if self._shortlist is None:
            return ()
        inside, shots = self._shortlist.recall()
        size = self._shortlist.size
        measured = (
            f" For {inside} of {shots} shots their own label is among them (each shot compared "
            "with the labels and the other shots)."
            if shots
            else ""
        )
        return (
            f"Each prompt lists the {size} labels of {len(self._labels)} that are most similar to "
            f"its text (labelling.shortlist).{measured}",
        )

    def _shown(self, queries: Sequence[Query]) -> list[Shown]:
        texts = [query.text for query in queries]
        if self._shortlist is None:
            listed: list[tuple[int, ...] | None] = [None] * len(texts)
            allowed = None
        else:
            listed = [*self._shortlist(texts, [query.likely for query in queries])]
            allowed = [{self._labels[at].name for at in own or ()} for own in listed]
        if self._nearest is None:
            shots = self._shots(texts, allowed)
        else:
            shots = [tuple(self._nearest(text)) for text in texts]
            if allowed is not None:
                shots = [
                    tuple(shot for shot in own if shot.label in names)
                    for own, names in zip(shots, allowed, strict=True)
                ]
        # Most texts show the same shots.
        shown: dict[tuple[Example, ...], list[tuple[Query, str]]] = {}
        for own in shots:
            if own not in shown:
                shown[own] = _labelled(own)
        return [Shown(shown[own], names) for own, names in zip(shots, listed, strict=True)]

    def preparation(self) -> dict[str, list[Request]]:
        """Returns the requests that score the shots, before the first label; empty for none."""
        if not self._scores_shots:
            return {}
        gold, shown = self._trials(trials(self._shots.shots))
        return {"demonstrations": list(self._scorer.requests([one for one, _ in gold], shown))}

    def _trials(self, asked: Trials) -> tuple[list[tuple[Query, str]], list[Shown]]:
        """Returns the query of each trial with its right label, and what its prompt shows."""
        shots = _labelled(self._shots.shots)
        lists: list[set[int]] = []
        if self._shortlist is not None:
            texts = [query.text for query, _ in shots]
            lists = [set(own) for own in self._shortlist(texts, [()] * len(texts))]
        names = self._scorer.names
        shown = []
        for one, own in asked.pairs:
            demonstrations = [] if one is None else [shots[one]]
            labels = [shots[own][1], *(label for _, label in demonstrations)]
            # The list has the right label, so that it can be chosen, and that of what is shown.
            listed = sorted(lists[own].union(map(names.index, labels))) if lists else None
            shown.append(Shown(demonstrations, None if listed is None else tuple(listed)))
        return [shots[own] for _, own in asked.pairs], shown

    def fit(self, dev: Sequence[Example] = (), on_reply: OnReply | None = None) -> int:
        """Chooses demonstrations by scores, where they are to be, and fits the calibrator.

        Returns:
            The number of gold labels of ``dev`` used.
        """
        if self._scores_shots:
            asked = trials(self._shots.shots)
            self._shots.rank(
                asked.scores(self._scorer.right_logprobs(*self._trials(asked), on_reply))
            )
        return self._scorer.fit(_labelled(dev), on_reply)

    def requests(self, drafts: Sequence[Draft]) -> list[Request]:
        """Returns all requests that may label the drafts; see :meth:`LabelScorer.requests`."""
        return list(self._scorer.requests(_queries(drafts)))

    def label(self, drafts: Sequence[Draft], on_reply: OnReply | None = None) -> Labelled:
        """Labels a batch of drafts, which the calibrator sees as one batch.

        Raises:
            TeacherError: No request was answered.
        """
        scored = self._scorer.score(_queries(drafts), on_reply, [draft.asked for draft in drafts])
        opinions = tuple(None if one is None else Opinion(one) for one in scored.distributions)
        return Labelled(opinions, scored.errors, asked=len(drafts), failed=len(scored.errors))


class ScoredShots:
    """The state of a calibrator, and of the scores by which shots are chosen.

    A resumed run shows the shots of before without asking again.

    Args:
        calibrator: The calibrator.
        shots: Chooses the shots.
    """

    def __init__(self, calibrator: FittedState, shots: ShotChoice) -> None:
        self._calibrator, self._shots = calibrator, shots
        self.name, self.needs = calibrator.name, calibrator.needs

    def state_dict(self) -> dict[str, Any]:
        """Returns both states."""
        return {"calibrator": self._calibrator.state_dict(), "scores": self._shots.scores}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores both."""
        self._calibrator.load_state_dict(state["calibrator"])
        self._shots.rank(state["scores"])

    def freeze(self) -> None:
        """Freezes the calibrator."""
        self._calibrator.freeze()


def _queries(drafts: Sequence[Draft]) -> list[Query]:
    return [Query(draft.text, likely=draft.likely) for draft in drafts]


def _labelled(examples: Sequence[Example]) -> list[tuple[Query, str]]:
    return [
        (Query(example.text), example.label) for example in examples if example.label is not None
    ]
