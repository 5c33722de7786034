"""The shapes of a run's files, and their checks.

A folder may be damaged, altered or from somebody else: whatever the report computes with has the
type and the size that a run writes.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError


def _share(value: float) -> float:
    # Sums of float32 probabilities may exceed 1 by rounding; NaN is shown as missing.
    if not math.isnan(value) and not -1e-6 <= value <= 1.000001:
        raise ValueError(f"{value!r} is not in [0, 1]")
    return value


Count = Annotated[int, Field(ge=0, le=10**15)]
Round = Annotated[int, Field(ge=0, le=10_000)]
"""A figure has a bar per round, so an absurd number would take hours."""
Share = Annotated[float, Field(ge=-1e-6, le=1.000001, allow_inf_nan=False)]
Probability = Annotated[float, AfterValidator(_share)]
Finite = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
ClassIndex = Annotated[str, Field(pattern=r"^[0-9]{1,6}$")]
Pair = Annotated[list[Count], Field(min_length=2, max_length=2)]
Text = str | None


class Shape(BaseModel):
    """Base of the shapes: every key may be missing, and further keys are allowed."""

    model_config = ConfigDict(extra="allow", strict=True)


class StatusShape(Shape):
    """status.json."""

    state: str = ""
    phase: Text = None
    round: Round | None = None
    error: Text = None
    resume_command: Text = None
    started: Text = None
    updated: Text = None


class _Split(Shape):
    name: str = ""
    where: str = ""
    read: Count = 0
    kept: Count = 0
    classes: dict[str, Count] = {}
    dropped: dict[str, Count] = {}
    replaced: Count = 0
    unlabelled: Count = 0


class _Data(Shape):
    name: Text = None
    pool: Count | None = None
    dev: Count | None = None
    test: Count | None = None
    dropped: dict[str, Count] = {}
    warnings: list[str] = []
    splits: list[_Split] = []


class _Teacher(Shape):
    engine: Text = None
    model: Text = None
    fingerprint: Text = None
    calibration: Text = None
    notes: list[str] = []


class _Student(Shape):
    model: Text = None


class ManifestShape(Shape):
    """manifest.json, without the keys that a report cannot do without."""

    tutelage: Text = None
    python: Text = None
    platform: Text = None
    packages: dict[str, Text] = {}
    commit: Text = None
    hardware: dict[str, str | Finite | None] = {}
    seed: int | None = None
    config_hash: Text = None
    name: Text = None
    command: Text = None
    method: Text = None
    ablation: Text = None
    teacher: _Teacher | None = None
    student: _Student | None = None
    data: _Data | None = None
    gold_labels: dict[str, Count] | None = None
    truncated: dict[str, Count] | None = None


class _Kept(Shape):
    name: str = ""


class _Shares(Shape):
    unique: Share | None = None
    selections: Share | None = None
    unique_rows: Count | None = None
    pool: Count | None = None


class _WrittenOrReal(Shape):
    balanced_accuracy: Share
    interval: Annotated[list[Share], Field(min_length=2, max_length=2)]
    written: Count
    real: Count


class _TeacherScores(Shape):
    raw: Share | None = None
    raw_accuracy: Share | None = None
    tokens: Count | None = None


class ResultShape(Shape):
    """result.json."""

    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    supervised: dict[str, Any] | None = None
    teacher: _TeacherScores | None = None
    written_or_real: _WrittenOrReal | None = None
    majority: dict[str, Any] | None = None
    tokens: dict[str, Count | None] | None = None
    seconds: dict[str, Finite] | None = None
    share_of_data: _Shares | None = None
    rounds: Count | None = None
    stopped_by: Text = None
    kept: _Kept | None = None
    pool_hash: Text = None
    gold_labels: dict[str, Count] | None = None
    warnings: list[str] = []


class _ClassScore(Shape):
    precision: Share
    recall: Share
    f1: Share
    support: Count


class ScoresShape(Shape):
    """A task's metrics over some examples; the metrics themselves are further keys."""

    per_class: dict[str, _ClassScore] = {}
    errors: dict[str, Count] = {}


class RoundShape(Shape):
    """A line of metrics.jsonl."""

    round: Round = 0
    billed_tokens: Count | None = None
    spent_tokens: Count | None = None
    dev: ScoresShape | None = None
    test: ScoresShape | None = None
    seconds: dict[str, Finite] | None = None


class GrowthShape(Shape):
    """A file of growth/."""

    round: Round = 0
    analysis: Text = None
    quota: dict[str, Count] | None = None
    seconds: dict[str, Finite] | None = None
    asked: Count | None = None
    answered: Count | None = None
    rejected: Count | None = None
    failed: Count | None = None
    prompt: Text = None


class SelectionShape(Shape):
    """A line of selection.jsonl."""

    seen: dict[ClassIndex, Count] = {}
    kept: dict[ClassIndex, Count] = {}
    right_of_seen: Pair = [0, 0]
    right_of_kept: Pair = [0, 0]
    tau_teacher: list[Finite | None] | None = None
    tau_student: list[Finite | None] | None = None


class _Distribution(Shape):
    labels: list[str] = []
    probabilities: Annotated[list[Probability], Field(min_length=1)] = []
    off_label_mass: Probability = 0
    raw: list[Probability] = []


class RowShape(Shape):
    """A line of pool/rows.jsonl."""

    id: str = ""
    text: str = ""
    target: str = ""
    source: str = ""
    round: Round = 0
    accepted: bool = False
    reason: str = ""
    distribution: _Distribution | None = None
    asked: str = ""
    parents: list[str] = []
    weight: Finite = 0
    detail: dict[str, Any] = {}
    entity_confidence: list[Probability] = []


class OutcomeShape(Shape):
    """A line of predictions/ or feedback/."""

    id: str = ""
    text: str = ""
    target: str = ""
    predicted: str = ""
    probabilities: Annotated[list[Probability], Field(min_length=1)] = []
    source: str = ""
    round: Round = 0
    tags: list[str] = []


class SuspectShape(Shape):
    """A line of audit.jsonl."""

    id: str
    text: str
    split: Literal["pool", "dev", "test"]
    label: str
    suggested: str
    probability: Probability
    why: str


class _AuditedClass(Shape):
    name: str
    units: Count
    expected: Annotated[float, Field(ge=0, le=10**15)]
    known: Count
    wrong: Count


class _AuditedSplit(Shape):
    split: Literal["pool", "dev", "test"]
    texts: Count
    suspects: Count
    known: Count
    wrong: Count
    by: list[str]


class AuditShape(Shape):
    """audit.json."""

    units: str
    classes: list[_AuditedClass]
    splits: list[_AuditedSplit]
    min_confidence: Probability
    notes: list[str]


_Part = Literal["control", "unsure", "disputed"]


class SampledShape(Shape):
    """A line of review/sample.jsonl."""

    id: str
    part: _Part
    teacher: str
    student: str


class _ReviewedPart(Shape):
    part: _Part
    drawn: Count
    labelled: Count
    teacher: Count
    student: Count


class _ReviewedScore(Shape):
    who: Literal["teacher", "student"]
    metric: str
    value: Share
    low: Share
    high: Share


class ReviewShape(Shape):
    """review/review.json."""

    file: str
    sha256: str
    gold_sha256: str
    gold: Count
    skipped: Count
    open: Count
    undecided: Count
    several: Count
    agreed: Count
    annotators: Count
    widened: Count
    parts: list[_ReviewedPart]
    scores: list[_ReviewedScore]


class _GuaranteedSplit(Shape):
    split: Literal["dev", "test"]
    texts: Annotated[int, Field(ge=1, le=10**15)]
    kept: Count
    right: Count
    covered: Count | None
    labels: Count | None


class _Route(Shape):
    who: Literal["student", "teacher", "both"]
    accuracy: Share
    tokens: Finite | None


class GuaranteeShape(Shape):
    """guarantee.json."""

    student: str
    accuracy: Share
    risk: Share
    coverage: Share
    threshold: Share | None
    bound: Share | None
    missing: Count
    probability: Share | None
    splits: list[_GuaranteedSplit]
    routes: list[_Route]
    notes: list[str]


def problems(shape: type[Shape], record: object) -> dict[tuple[str | int, ...], str]:
    """Return what is wrong with a record, by the keys that lead there."""
    try:
        shape.model_validate(record)
    except ValidationError as error:
        return {one["loc"]: _worded(one) for one in error.errors(include_url=False)}
    return {}


def why(error: Exception) -> str:
    """Return an error in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f'"{place}": {_worded(first)}' if place else _worded(first)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def _worded(error: Any) -> str:
    given = repr(error["input"])
    kind = "Input should be a JSON object" if error["type"] == "model_type" else error["msg"]
    return f"{kind}, not {given if len(given) <= 60 else given[:60] + '…'}"
