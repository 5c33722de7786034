"""The typed configuration of one run: plain frozen dataclasses, one per group of conf/.

A group whose YAML names a ``_target_`` is a :class:`Component`; its keys are checked against the
signature of that target (:mod:`tutelage.config.check`). Every other group is a dataclass here, with
a docstring under each field. The reference page of the documentation is generated from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Component:
    """An object that :mod:`tutelage.config.build` creates: a class or function, and its
    settings."""

    target: str
    """Dotted path of the class or function, as ``_target_`` names it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the target."""

    @property
    def kind(self) -> str:
        """The target's own name, without its module."""
        return self.target.rpartition(".")[2]

    def get(self, key: str, default: Any = None) -> Any:
        """Returns a setting, or ``default`` where the component has no such setting."""
        return self.settings.get(key, default)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How long each stage trains, and on which rows (conf/training)."""

    gold: Literal["shots", "pool", "none"]
    """Gold labels that the run may use: the shots, the whole pool (the supervised ceiling), or
    none."""
    start_epochs: int
    """Epochs on the first rows."""
    start_max_steps: int
    """Optimizer steps after which the first stage ends early; 0 sets no limit. For arms that are
    compared at equal numbers of steps."""
    round_epochs: int
    """Epochs on the rows of each round (EvoKD's repeated batch)."""
    round_max_steps: int
    """Optimizer steps after which a round ends early; 0 sets no limit."""
    final_epochs: int
    """Epochs on every accepted row after the last round; 0 leaves the final stage out."""
    final_max_steps: int
    """Optimizer steps after which the final stage ends early; 0 sets no limit."""
    train_on: Literal["batch", "all"]
    """Rows that a round trains on: its own batch, or every accepted row so far."""
    gold_repeats: int
    """How often each gold row appears in an epoch, beside generated rows."""
    review_every: int
    """Older rows return every this many rounds (EvoKD's review history); 0 never."""
    review_size: int
    """Maximum number of older rows per review, balanced over the classes."""
    predict_then_train: bool
    """Feedback comes from predictions on new rows before training on them; false: after."""
    patience: int
    """Rounds without a better score on dev before growth ends; 0 never. It uses the dev labels."""
    stop_after_empty: int
    """Rounds in a row that teach nothing, after which growth ends; 0 never. Such a round has no
    accepted text; or, with ``method.feedback`` and ``predict_then_train``, the student was right on
    every accepted text before it trained on them."""
    keep: Literal["last", "best"]
    """The student that the run ends with: the last one, or the one of the stage that scored best on
    dev (after the first rows, a round or the final stage). "best" uses the dev labels."""
    final_student: Literal["trained", "new"] = "trained"
    """The student of the final stage: the one that the rounds have trained, or a new one that
    learns from every accepted row at once."""
    round_student: Literal["trained", "new"] = "trained"
    """The student of each round: the one trained so far, or a new one, which needs
    ``train_on=all`` (active learning that retrains, such as LLMaAA's). The old one chooses and
    predicts the rows of the round first."""
    prefetch: bool = False
    """While the student trains, ask the teacher for the labels of the next round's pool texts. It
    needs texts that are drawn at random (``acquire=random``). Rows, billed tokens and results stay
    the same. The last labels may go unused where growth ends early."""


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """The student: an encoder with a head, and its optimizer (conf/student)."""

    model: str
    """"embedded" (all-MiniLM-L6-v2), a folder, or a hub id of an encoder."""
    learning_rate: float
    """Peak learning rate of the encoder (AdamW)."""
    head_learning_rate: float
    """Peak learning rate of the head, which starts from random weights, or from a regression
    (``head=fitted``)."""
    weight_decay: float
    """Weight decay of AdamW."""
    max_length: int
    """Longest input in sub-tokens; longer texts are cut, and counted."""
    batch_size: int
    """Rows per training step."""
    eval_batch_size: int
    """Rows per batch of predictions."""
    trust_remote_code: bool
    """Allow code from the model's repository to run."""
    schedule: Component
    """Learning rate over each stage (conf/student, ``schedule``)."""
    encoder: Literal["transformer", "static"] = "transformer"
    """Classification: the model itself, or one vector per token (as in model2vec): the model reads
    each token of its vocabulary alone, PCA shortens the states to 256 numbers, and frequent tokens
    get less weight. A text is the mean of its tokens: prediction is tens of times faster, and no
    word sees its neighbours."""
    pooling: Literal["mean", "normalized_mean", "first"] = "mean"
    """Classification: mean over all tokens, this mean scaled to length 1 (as sentence encoders are
    trained), or the model's own classification head."""
    head_dropout: float = 0.0
    """Classification: dropout before the linear head; not with ``pooling=first``."""
    head: Literal["trained", "fitted"] = "trained"
    """How the head starts. "trained": once, from random weights. "fitted": before each stage, from
    a regression on the encoder's features of all rows so far, so that the encoder is tuned under a
    head that already fits it (linear probing, then fine-tuning; Kumar et al. 2022). The regression
    uses hard labels and not ``loss``; where ``select`` chooses once per epoch, it uses the rows
    that are kept, and otherwise all; of more than 5,000 labels, 5,000 evenly."""
    freeze_encoder: bool = False
    """Only the head learns. The encoder reads each text once and keeps its states (up to 1 GiB), so
    a round takes seconds; dropout inside the encoder is off."""
    contrastive_start: int = 0
    """Classification: optimizer steps in which a new student's encoder is tuned on pairs of rows,
    ``batch_size`` of them each, before its head is fitted and its first stage trains: the cosine of
    two embeddings goes to 1 within a class and to 0 between classes (SetFit; Tunstall et al. 2022).
    At ``learning_rate`` under ``schedule``; 0 leaves it out."""
    class_names: bool = False
    """Classification: the word and the description of each class are training rows too, one row
    each, so that the student knows something of the classes before the teacher is asked."""
    peers: Literal[1, 2] = 1
    """Networks of the student. With 2, both learn from the same rows in the same steps, from other
    heads and under other dropout, and their mean distribution is the student's prediction;
    ``select=dynamics`` weights each by the other. Costs twice the training and prediction."""


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """The token budget (conf/budget)."""

    tokens: int | None = None
    """Billed tokens at most; growth stops before a round that would pass it. null: no limit."""


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """Reference scores on test, never fed back to the student (conf/evaluate)."""

    teacher: bool
    """Let the teacher label the test set; its tokens are counted apart."""
    supervised: bool
    """Train a student on every gold label of the pool (the ceiling)."""
    supervised_epochs: int
    """Epochs of the supervised student."""
    written_or_real: bool
    """Measure how well written texts can be told from the pool's, where a run has both."""
    test_every_round: bool
    """Measure on test after every round, not only at the start and the end."""


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """How a multirun treats its jobs (conf/sweep)."""

    name: str
    """Names the folder, multirun_sweeps/<name>/<time>/<job>. Jobs that an earlier sweep of this
    name
    has finished are not repeated."""
    fail_fast: bool
    """Start no further job after one has failed."""
    share_teacher: bool | Literal["auto"]
    """One engine for all jobs (teacher=vllm); "auto": with launchers whose jobs stay on this
    machine."""
    metric: str | None
    """Metric on test that the job table shows and a sweeper optimises; null: the task's first
    one."""
    reuse: bool
    """Reuse finished jobs of earlier sweeps of the same name."""


@dataclass(frozen=True, slots=True)
class HydraInfo:
    """What the run needs to know of Hydra's own configuration."""

    run_dir: Path
    """The folder of a single run."""
    sweep_dir: Path
    """The folder of a multirun."""
    choices: Mapping[str, str]
    """The chosen option of each group."""
    named: frozenset[str]
    """Groups whose option the command line names; the others have the method's or the default."""
    sweeper: str
    """Dotted path of Hydra's sweeper."""
    launcher: str
    """Dotted path of Hydra's launcher."""
    sweep_params: Mapping[str, str]
    """Swept values by key, as conf/sweep names them (``hydra.sweeper.params``)."""
    n_trials: int | None
    """Number of trials of a searching sweeper, where it has one."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything that one run is configured by; only :mod:`tutelage.config` sees a DictConfig."""

    name: str
    """Names the run's folder: outputs/<name>/<time>."""
    seed: int
    """The seed of shots, sampling, order and initialisation."""
    shots: int
    """Labelled examples per class that the run may use."""
    threads: int
    """CPU threads of the student; 0 takes every core that the process may use."""
    keep_checkpoint: bool
    """Keep the last checkpoint, with the optimizer's state, when a run is done."""
    resume: bool | str
    """true: continue the newest unfinished run of this configuration; a folder: continue that
    one."""
    task: Component
    """conf/task."""
    data: Component
    """conf/data."""
    teacher: Component
    """conf/teacher, without the two keys below."""
    cache: str | None
    """``teacher.cache``: "auto" (the user's cache of replies), a path, or null for none."""
    record: str | None
    """``teacher.record``: a path that every request is written to with its reply, or null."""
    prompt: Component
    """conf/prompt."""
    labelling: Component
    """conf/labelling."""
    calibration: Component
    """conf/calibration."""
    method: Component
    """conf/method."""
    acquire: Component | None
    """conf/acquire; None for a method that acquires nothing."""
    accept: Component | None
    """conf/accept; None for a method that writes no texts."""
    select: Component
    """conf/select."""
    training: TrainingConfig
    """conf/training."""
    student: StudentConfig
    """conf/student."""
    loss: Component
    """conf/loss."""
    budget: BudgetConfig
    """conf/budget."""
    trainer: Mapping[str, Any]
    """conf/trainer: keyword arguments of Lightning's Trainer."""
    callbacks: Mapping[str, Component]
    """conf/callbacks: Lightning callbacks by name."""
    logger: Mapping[str, Component]
    """conf/logger: Lightning loggers and the wandb mirror by name."""
    evaluate: EvaluateConfig
    """conf/evaluate."""
    sweep: SweepConfig
    """conf/sweep."""
    hydra: HydraInfo
    """Folders and choices."""
    source: Mapping[str, Any]
    """The composed configuration as plain values, for config.yaml and the configuration hash."""

    @property
    def method_name(self) -> str:
        """The method's name, as results and folders show it."""
        return str(self.method.settings["name"])

    @property
    def other_teachers(self) -> dict[str, Component]:
        """The further teachers of ``labelling.teachers``, by name.

        Each is the run's own teacher with some settings of its own, or an engine of another kind
        with nothing but its own.
        """
        found = {}
        for name, given in (self.labelling.get("teachers") or {}).items():
            own = dict(given)
            target = str(own.pop("_target_", self.teacher.target))
            shared = dict(self.teacher.settings) if target == self.teacher.target else {}
            if "url" in own:
                # A key is for one address, and must not be sent to another.
                shared.pop("api_key_env", None)
            found[str(name)] = Component(target, {**shared, **own})
        return found

    def with_seed(self, seed: int) -> RunConfig:
        """Returns the same configuration with another seed."""
        return replace(self, seed=seed, source={**self.source, "seed": seed})
