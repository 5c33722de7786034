"""The schema of the configuration's scalars: a value of the wrong type is refused when the configuration is composed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class BudgetSettings:
    """conf/budget: billed tokens at most, None without a limit."""

    tokens: int | None = None


@dataclass
class TrainerSettings:
    """conf/trainer."""

    accelerator: str = MISSING
    precision: str = MISSING
    gradient_clip: float = MISSING
    threads: int = MISSING
    keep_checkpoint: bool = MISSING


@dataclass
class EvaluateSettings:
    """conf/evaluate."""

    teacher: bool = MISSING
    supervised: bool = MISSING
    supervised_epochs: int = MISSING
    test_every_round: bool = MISSING


@dataclass
class SweepSettings:
    """conf/sweep."""

    name: str = MISSING
    fail_fast: bool = MISSING
    share_teacher: str = MISSING
    metric: str | None = None
    reuse: bool = MISSING


@dataclass
class TutelageSettings:
    """The top level of conf/config.yaml; groups with a ``_target_`` are checked by the signature that they call."""

    task: Any = MISSING
    data: Any = MISSING
    teacher: Any = MISSING
    calibration: Any = MISSING
    prompt: Any = MISSING
    method: Any = MISSING
    selector: Any = MISSING
    student: Any = MISSING
    loss: Any = MISSING
    logger: Any = MISSING
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    sweep: SweepSettings = field(default_factory=SweepSettings)
    name: str = MISSING
    seed: int = MISSING
    shots: int = MISSING
    resume: Any = False


def register_schema() -> None:
    """Make the schema known to Hydra as ``schema``; conf/config.yaml begins with it."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=TutelageSettings)
