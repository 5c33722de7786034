"""Warnings about a run's outcome: signs that it did not do what it is for, and what to try.

Each check is a pure function of :class:`Facts`. An advice names only settings that the run's own
configuration has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tutelage.methods.base import RequestFailure
from tutelage.methods.generation.artefacts import ARTEFACTS, NO_TEXT
from tutelage.progress import ProgressReporter
from tutelage.records import Feedback, Growth, Outcome, Row, outcome_from_dict
from tutelage.runs.folder import RunFolder
from tutelage.tasks.opinions import TeacherOpinion
from tutelage.tasks.protocol import Task

ENOUGH = 20
"""Smallest number of rows or requests of which a share means something."""
FEW_ACCEPTED = 0.05
MANY_FAILED = 0.05
MANY_ARTEFACTS = 0.1
OFF_LABEL = 0.95
"""Median probability off the labels above which they are a guess (a sound small model has 0.8)."""
MANY_IN_TEST = 5
"""Test texts of a class from which a student that never predicts it is told of."""
ROWS_PER_LABEL = 5
"""Rows per class from which a class without any is told of."""

SKEWED = 1.5
"""Multiple of an equal share from which the most frequent class makes the classes skewed."""

_CHANCE = 0.05


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks look at.

    Attributes:
        task: The task.
        settings: The run's configuration, nested.
        rows: The whole pool.
        test: The student's outcomes on test at the end.
        teacher: The teacher's own predictions on test; empty if they were not asked for.
        mistakes: Number of mistakes behind each round of growth.
        rounds: Rounds done.
        stopped_by: Why growth ended.
        requests: Requests to the teacher.
        failed: Failed requests among them.
    """

    task: Task
    settings: Mapping[str, Any]
    rows: Sequence[Row] = ()
    test: Sequence[Outcome] = ()
    teacher: Sequence[TeacherOpinion] = ()
    mistakes: Sequence[int] = ()
    rounds: int = 0
    stopped_by: str = ""
    requests: int = 0
    failed: int = 0

    @property
    def grown(self) -> list[Row]:
        """The rows that are not gold."""
        return [row for row in self.rows if row.source != "gold"]


def facts_of(
    folder: RunFolder,
    settings: Mapping[str, Any],
    task: Task,
    rows: Sequence[Row],
    result: Mapping[str, Any],
) -> Facts:
    """Gathers the facts about a finished run.

    Args:
        folder: The run's folder, with its predictions and the feedback of each round.
        settings: The run's configuration, nested.
        task: The task.
        rows: The whole pool.
        result: Contents of result.json.
    """
    opinions = folder.read_lines("teacher/evaluation.jsonl") if result["teacher"] else ()
    feedback = (f"feedback/round-{round:03d}.jsonl" for round in range(1, result["rounds"] + 1))
    requests = result["requests"] or {"all": 0, "failed": 0}
    return Facts(
        task,
        settings,
        rows,
        tuple(map(outcome_from_dict, folder.read_lines("predictions/test-after.jsonl"))),
        tuple(map(task.read_opinion, opinions)),
        tuple(len(folder.read_lines(name)) for name in feedback),
        result["rounds"],
        result["stopped_by"],
        requests["all"],
        requests["failed"],
    )


def warnings_of(facts: Facts) -> list[str]:
    """Returns the warnings about a finished run, causes before effects."""
    return [message for check in _CHECKS if (message := check(facts))]


@dataclass(slots=True)
class RoundWatch:
    """Tells at once of a round of growth that brings nothing, each kind of it once.

    Args:
        reporter: Shows the warnings.
        settings: The run's configuration, nested.
    """

    reporter: ProgressReporter
    settings: Mapping[str, Any]
    _told: set[str] = field(default_factory=set)
    _brought_rows: bool = True

    def aimed(self, feedback: Feedback, round: int) -> None:
        """Looks at the feedback for a round."""
        # After the start stage, a student without mistakes has merely learnt its shots. Where the
        # last round brought no row, there was nothing to be wrong about.
        learnt = round == 1 or not self._brought_rows
        if not learnt and not feedback.wrong and _setting(self.settings, "method.feedback"):
            self._tell(
                "feedback",
                f"Round {round} is aimed at no mistake: the student makes none on the newest rows "
                f"that count.{_about_mistakes(self.settings)}",
            )

    def grown(self, growth: Growth) -> None:
        """Looks at the rows of a round."""
        texts = [row for row in growth.rows if row.source != "gold"]
        self._brought_rows = any(row.accepted for row in texts)
        if few := _few_accepted(texts):
            self._tell(
                "few" if self._brought_rows else "accepted",
                f"Round {growth.round}: {few} of {len(texts)} texts {_was(texts)} accepted."
                f"{_about_reasons(texts, self.settings)}",
            )

    def _tell(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self.reporter.warn(message)


# The checks


def _budget(facts: Facts) -> str:
    if facts.stopped_by != "budget" or facts.rounds:
        return ""
    limit = _setting(facts.settings, "budget.tokens")
    return (
        f"The budget of {limit:,} tokens ended before the first round, so the student learnt from "
        f"the first rows alone.{_advice(facts.settings, _MORE_BUDGET, _FEWER_TEXTS)}"
    )


def _failures(facts: Facts) -> str:
    if facts.requests < ENOUGH or facts.failed < MANY_FAILED * facts.requests:
        return ""
    lost = (row.reason for row in facts.rows if RequestFailure.of(row))
    first = next(lost, "")
    return (
        f"{facts.failed:,} of {facts.requests:,} requests to the teacher failed "
        f"({facts.failed / facts.requests:.0%}), and their texts are lost."
        + (f" The first: {_short(first, 200)!r}." if first else "")
        + _advice(
            facts.settings,
            ("teacher.timeout", "a higher teacher.timeout"),
            ("teacher.retries", "a higher teacher.retries"),
            ("teacher.max_model_len", "a higher teacher.max_model_len if prompts are too long"),
        )
    )


def _acceptance(facts: Facts) -> str:
    rows = facts.grown
    if few := _few_accepted(rows):
        return (
            f"Of {len(rows)} texts {few} {_was(rows)} accepted."
            f"{_about_reasons(rows, facts.settings)}"
        )
    # A run may begin well and end with rounds that bring nothing.
    rounds: dict[int, list[Row]] = {}
    for row in rows:
        rounds.setdefault(row.round, []).append(row)
    barren = [one for one in rounds.values() if _few_accepted(one)]
    if not barren or (2 * len(barren) <= len(rounds) and facts.stopped_by != "nothing accepted"):
        return ""
    return (
        f"{len(barren)} of {len(rounds)} rounds brought no text or nearly none."
        f"{_about_reasons([row for one in barren for row in one], facts.settings)}"
    )


def _few_accepted(rows: Sequence[Row]) -> str:
    """Says how many of some texts were accepted ("none", "only 3"); "" if enough were."""
    accepted = sum(row.accepted for row in rows)
    few = len(rows) >= ENOUGH and accepted < FEW_ACCEPTED * len(rows)
    if not rows or (accepted and not few):
        return ""
    return f"only {accepted}" if accepted else "none"


def _was(rows: Sequence[Row]) -> str:
    return "were" if sum(row.accepted for row in rows) > 1 else "was"


def _stopped(facts: Facts) -> str:
    limit = _setting(facts.settings, "training.stop_after_empty")
    if facts.stopped_by == "nothing accepted":
        why = f"{limit} rounds in a row brought no text"
    elif facts.stopped_by == "nothing to learn":
        why = f"the student was right on every text of {limit} rounds in a row before it learnt it"
    else:
        return ""
    return f"Growth ended after round {facts.rounds} because {why}." + (
        _about_mistakes(facts.settings)
        if facts.stopped_by == "nothing to learn"
        else _advice(
            facts.settings,
            ("training.stop_after_empty", "training.stop_after_empty=0 to go on regardless"),
        )
    )


def _artefacts(facts: Facts) -> str:
    replies = [
        row
        for row in facts.grown
        if "prompt" in row.detail and RequestFailure.of(row) is not RequestFailure.GENERATION
    ]
    found = [row for row in replies if ARTEFACTS in row.detail]
    if len(replies) < ENOUGH or len(found) <= MANY_ARTEFACTS * len(replies):
        return ""
    kinds = Counter(kind for row in found for kind in row.detail[ARTEFACTS].split(", "))
    rejected = [row for row in found if row.reason.startswith(NO_TEXT)]
    shown = _short((rejected or found)[0].text, 80)
    return (
        f"{len(found)} of {len(replies)} replies ({len(found) / len(replies):.0%}) held more than "
        f"a text, or none: {_counts(kinds)}; for instance {shown!r}. {len(rejected)} of them were "
        "rejected, and the others cleaned. The teacher seems to expect a chat."
        + _advice(
            facts.settings,
            ("prompt", "its own chat format (prompt=chat)"),
            ("teacher.model", "a teacher.model that continues texts (a base model)"),
        )
    )


def _off_label(facts: Facts) -> str:
    masses = [row.distribution.off_label_mass for row in facts.rows if row.distribution]
    if len(masses) < ENOUGH or (middle := median(masses)) <= OFF_LABEL:
        return ""
    return (
        f"In half of {len(masses)} answers the teacher put {middle:.1%} or more of its probability "
        "on words that are no label, so its labels are little more than a guess."
        + _advice(
            facts.settings,
            ("data.cue", "another data.cue (the word before the label)"),
            ("data.labels", "plainer words in data.labels"),
            ("teacher.model", "another teacher.model"),
        )
    )


def _feedback(facts: Facts) -> str:
    empty = sum(not count for count in facts.mistakes)
    if not _setting(facts.settings, "method.feedback") or len(facts.mistakes) < 2:
        return ""
    # Without any accepted row there was nothing to be wrong about.
    if 2 * empty <= len(facts.mistakes) or not any(row.accepted for row in facts.grown):
        return ""
    return (
        f"{empty} of {len(facts.mistakes)} rounds were aimed at no mistake of the student, so "
        f"their texts do not follow it.{_about_mistakes(facts.settings)}"
    )


def _missing_rows(facts: Facts) -> str:
    names = [label.name for label in facts.task.labels]
    grown = [row for row in facts.grown if row.accepted]
    if len(grown) < ROWS_PER_LABEL * len(names):
        return ""
    known = {name for row in grown for name in facts.task.classes(row.target)}
    missing = [name for name in names if name not in known]
    if not missing:
        return ""
    return (
        f"Of {len(grown)} accepted rows none {_of_class(facts.task, missing)}: the student learns "
        "no more about it than the gold labels say."
        + _advice(
            facts.settings,
            _more_shots(facts.settings),
            ("data.labels", "plainer words and descriptions in data.labels"),
            ("calibration.prior", "calibration.prior if the classes are not equally frequent"),
        )
    )


def _teacher(facts: Facts) -> str:
    if not facts.teacher:
        return ""
    right = [one.predicted == one.target and not one.error for one in facts.teacher]
    targets = [one.target for one in facts.teacher]
    found = [one.predicted for one in facts.teacher]
    says = _not_above(facts.task, targets, right, found)
    return says and (
        f"The teacher alone {says} A student seldom ends far above its teacher."
        + _advice(
            facts.settings,
            *_for_skewed(facts.task, targets),
            ("teacher.model", "a more capable teacher.model"),
            ("data.cue", "another data.cue (the word before the label)"),
            ("data.labels", "plainer words and descriptions in data.labels"),
            ("shots", "more shots="),
        )
    )


def _student(facts: Facts) -> str:
    right = [outcome.correct for outcome in facts.test]
    targets = [outcome.target for outcome in facts.test]
    found = [outcome.predicted for outcome in facts.test]
    says = _not_above(facts.task, targets, right, found)
    more = {"budget": _MORE_BUDGET, "plateau": ("training.patience", "a higher training.patience")}
    rounds = _setting(facts.settings, "method.rounds")
    longer = ("method.rounds", "a higher method.rounds") if rounds else ("", "")
    return says and (
        f"The student {says}"
        + _advice(
            facts.settings,
            *_for_skewed(facts.task, targets),
            _more_shots(facts.settings),
            more.get(facts.stopped_by, longer),
            ("training.start_epochs", "a higher training.start_epochs"),
            *([] if facts.teacher else [_EVALUATE]),
        )
    )


def _never_predicted(facts: Facts) -> str:
    asked = Counter(name for one in facts.test for name in facts.task.classes(one.target))
    predicted = {name for one in facts.test for name in facts.task.classes(one.predicted)}
    names = [
        label.name
        for label in facts.task.labels
        if asked[label.name] >= MANY_IN_TEST and label.name not in predicted
    ]
    if not names:
        return ""
    texts = sum(asked[name] for name in names)
    # Only rounds that follow the student's mistakes can prefer a class.
    aims = _setting(facts.settings, "method.rounds") and _setting(facts.settings, "method.feedback")
    return f"The student never predicts {_listed(names)}, which {texts} test texts have." + _advice(
        facts.settings,
        _more_shots(facts.settings),
        ("training.start_epochs", "a higher training.start_epochs"),
        *([_FOCUS] if aims else []),
    )


_CHECKS: tuple[Callable[[Facts], str], ...] = (
    _budget,
    _failures,
    _stopped,
    _acceptance,
    _artefacts,
    _off_label,
    _feedback,
    _missing_rows,
    _teacher,
    _student,
    _never_predicted,
)


def _not_above(
    task: Task, targets: Sequence[str], right: Sequence[bool], found: Sequence[str]
) -> str:
    """Says that predictions are no better than the same answer to every text; "" if they are.

    Args:
        task: The task.
        targets: The gold targets.
        right: Whether each prediction is correct.
        found: The predictions.
    """
    if not targets:
        return ""
    if task.is_token_level:
        return _no_entity(task, targets, right, found)
    (common, count), correct = Counter(targets).most_common(1)[0], sum(right)
    # Texts that both get right or wrong say nothing. Among the others, the predictions must be
    # right more often than by chance (a sign test).
    ours = sum(one and target != common for one, target in zip(right, targets, strict=True))
    theirs = sum(not one and target == common for one, target in zip(right, targets, strict=True))
    total = len(targets)
    if ours > theirs and (total < ENOUGH or _chance(ours, ours + theirs) < _CHANCE):
        return ""
    return (
        f"is right on {correct} of {total} test texts ({correct / total:.3f}), "
        f"{'below' if correct < count else 'not clearly above'} the answer {common!r} to every "
        f"text ({count}, {count / total:.3f})."
    )


def _no_entity(
    task: Task, targets: Sequence[str], right: Sequence[bool], found: Sequence[str]
) -> str:
    """Says that no entity is found; "" if one is, or if there is none to find."""
    outcomes = [
        Outcome("", "", target, predicted, (1.0,), "test", 0)
        for target, predicted in zip(targets, found, strict=True)
    ]
    there = sum(score.support for score in task.scores(outcomes).values())
    if not there or any(score.recall for score in task.scores(outcomes).values()):
        return ""
    return f"finds none of the {there} entities of {len(right)} test texts."


def _chance(successes: int, trials: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(successes, trials, alternative="greater").pvalue)


# Words

_Advice = tuple[str, str]
_MORE_BUDGET: _Advice = ("budget.tokens", "a higher budget.tokens")
_FEWER_TEXTS: _Advice = ("method.n_hard", "fewer texts per round (method.n_hard, method.n_easy)")
_FOCUS: _Advice = ("method.focus", "a higher method.focus (more texts for weak classes)")
_EVALUATE: _Advice = (
    "evaluate.teacher",
    "evaluate.teacher=true to see how good the teacher is on its own",
)


def _more_shots(settings: Mapping[str, Any]) -> _Advice:
    """More shots, where a run trains on them."""
    return ("shots" if _setting(settings, "training.gold") == "shots" else "", "more shots=")


def _for_skewed(task: Task, targets: Sequence[str]) -> list[_Advice]:
    """The shares of the classes, where one is far above an equal share of the test texts."""
    (_, most), share = Counter(targets).most_common(1)[0], 1 / len(task.labels)
    if task.is_token_level or most < SKEWED * share * len(targets):
        return []
    return [("calibration.prior", "calibration.prior=[…] with the share of each class")]


def _setting(settings: Mapping[str, Any], name: str) -> Any:
    """A setting by its dotted name; None if there is none."""
    value: Any = settings
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _has(settings: Mapping[str, Any], name: str) -> bool:
    parent, _, last = name.rpartition(".")
    node = _setting(settings, parent) if parent else settings
    return isinstance(node, Mapping) and last in node


def _advice(settings: Mapping[str, Any], *given: _Advice) -> str:
    """A sentence on what to try, of the settings that this run has."""
    usable = [words for name, words in given if name and _has(settings, name)]
    if not usable:
        return ""
    *most, last = usable
    return f" Try {', '.join(most) + ', or ' if most else ''}{last}."


def _about_mistakes(settings: Mapping[str, Any]) -> str:
    margin = _setting(settings, "method.mistake_margin")
    if margin:
        return (
            f" A mistake counts only where the teacher is sure of its own label: try a "
            f"method.mistake_margin below {margin:g} (0 counts every mistake)."
        )
    return _advice(
        settings,
        ("method.temperature", "a higher method.temperature for more varied texts"),
        ("training.round_epochs", "a lower training.round_epochs"),
    )


_ADVICE_ABOUT_TOKENS: tuple[tuple[str, _Advice], ...] = (
    ("under ", ("method.min_words", "method.min_words=1 in place of the lengths of the examples")),
    ("over ", ("method.max_tokens", "a method.max_tokens above that of the examples")),
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_ADVICE_BY_REASON: tuple[tuple[str, _Advice], ...] = (
    (
        f"{NO_TEXT}thinking",
        ("teacher.model", "a teacher.model that does not think before it answers"),
    ),
    (NO_TEXT, ("prompt", "the teacher's own chat format (prompt=chat)")),
    ("under ", ("method.min_words", "a lower method.min_words")),
    ("over ", ("method.max_words", "a higher method.max_words")),
    ("cut off", ("method.max_tokens", "a higher method.max_tokens")),
    ("confidence below", ("accept.min_confidence", "a lower accept.min_confidence")),
    ("probability of", ("accept.min_probability", "a lower accept.min_probability")),
    ("scored label", ("accept", "accept=scored to keep every text under its scored label")),
    ("near duplicate", ("method.near_duplicate", "a higher method.near_duplicate")),
    ("exact duplicate", ("method.temperature", "a higher method.temperature")),
    ("normalised duplicate", ("method.temperature", "a higher method.temperature")),
)


def _about_reasons(rows: Iterable[Row], settings: Mapping[str, Any]) -> str:
    """The most common reasons of rejections, with an example and what to try."""
    rejected = [row for row in rows if not row.accepted]
    counts = Counter(_kind(row) for row in rejected)
    top = counts.most_common(1)[0][0]
    example = next(row for row in rejected if _kind(row) == top)
    about = f" (of {_short(example.text, 80)!r})" if example.text else ""
    by_reason = _ADVICE_ABOUT_TOKENS if top.endswith(" tokens") else _ADVICE_BY_REASON
    advice = next((one for begin, one in by_reason if top.startswith(begin)), None)
    return f" Reasons: {_counts(counts)}; the first: {_short(example.reason, 160)!r}{about}." + (
        _advice(settings, advice or ("teacher.model", "a more capable teacher.model"))
        if RequestFailure.of(example) is None
        else ""
    )


def _kind(row: Row) -> str:
    """The reason of a rejection without what differs from text to text."""
    failure = RequestFailure.of(row)
    return failure.value if failure else _QUOTED.sub("…", row.reason)


def _counts(counts: Counter[str]) -> str:
    most = counts.most_common(3)
    others = sum(counts.values()) - sum(count for _, count in most)
    told = [f"{name} ({count})" for name, count in most]
    return ", ".join([*told, *([f"others ({others})"] if others else [])])


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} others"


def _of_class(task: Task, names: Sequence[str]) -> str:
    if task.is_token_level:
        return f"has an entity of type {_listed(names)}"
    return f"is of class {_listed(names)}"


def _short(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
