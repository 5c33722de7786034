"""The approved runs: what each one overrides, and the environment that all of them run in.

This is the only file that knows the names of settings. ``{student}``, ``{tagger}``, ``{data}`` and
``{folder}`` stand for paths that :mod:`worker` fills in; the teacher's words come from there too.
"""

from __future__ import annotations

from dataclasses import dataclass

PINS = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
    "PYTHONHASHSEED": "0",
}
"""Every library is told to compute as on the oldest x86-64, so that a replay ends alike on all.

Tried on one machine: without any of these, or with AVX2 or AVX-512, the student's weights differ in
their last digits, and everything that is approved is the same.
"""

RECORD = ("teacher=vllm", "teacher.record={recording}", "teacher.cache={folder}/replies.sqlite")
"""The teacher of a recording: the embedded model, with a cache for this recording alone."""

REPLAY = ("teacher=replay", "teacher.recording={recording}")
"""The teacher of a replay: it answers from the recording only, and anything else is an error."""

FOLDER = "hydra.run.dir={folder}"
SWEEP_FOLDER = "hydra.sweep.dir={folder}"

_EVERY = (
    "seed=1",
    "shots=1",
    "evaluate.supervised=false",
    "trainer.accelerator=cpu",
    "threads=1",
    "student.batch_size=8",
    "prompt.shown_tokens=600",
)

_WRITING = ("method.max_tokens=40", "method.min_words=3", "method.max_words=60")
"""Fixed lengths: the recordings hold no token counts of examples."""

_CLASSES = (
    *_EVERY,
    "task=classification",
    "student.model={student}",
    "student.learning_rate=1e-2",
    "student.head_learning_rate=3e-2",
    "student.max_length=32",
)

_NAMES = (
    *_EVERY,
    "task=ner",
    "data=wikigold",
    "student.model={tagger}",
    "student.learning_rate=1e-2",
    "student.head_learning_rate=3e-2",
    "student.max_length=64",
)

_EVOKD = (
    "method=evokd",
    *_WRITING,
    "method.rounds=3",
    "method.n_hard=10",
    "method.n_easy=10",
    "method.mistake_margin=0.05",
    "training.start_epochs=2",
    "training.round_epochs=2",
    "training.final_epochs=2",
    "training.review_every=2",
    "training.review_size=8",
)

_LLKD = (
    "select=llkd",
    "select.momentum=0.8",
    "method.pool_size=70",
    "training.start_epochs=12",
)


@dataclass(frozen=True)
class Case:
    """One approved run, or a sweep of runs.

    Attributes:
        recording: the file in recordings/ that the teacher answers from; cases may share one.
        overrides: everything but the teacher's words and the folder.
        sweep: the words of a multirun; none for a single run.
    """

    name: str
    recording: str
    overrides: tuple[str, ...]
    sweep: tuple[str, ...] = ()


CASES = (
    Case("evokd", "snips_evokd.jsonl", (*_CLASSES, "data=snips", *_EVOKD)),
    Case("llkd", "snips_pool.jsonl", (*_CLASSES, "data=snips", "method=llkd", *_LLKD)),
    Case(
        "llkd_on_demand",
        "snips_pool.jsonl",
        (
            *_CLASSES,
            "data=snips",
            "method=llkd_on_demand",
            *_LLKD,
            "acquire=entropy",
            "method.first=21",
            "method.rounds=2",
            "method.n_texts=14",
            "training.round_epochs=2",
        ),
    ),
    Case(
        "zerogen",
        "files_zerogen.jsonl",
        (
            *_CLASSES,
            "data=files",
            "data.path={data}",
            "data.cue=Topic",
            "method=zerogen",
            *_WRITING,
            "method.n_first=28",
            "training.start_epochs=12",
            "evaluate.teacher=true",
        ),
    ),
    Case(
        "evokd_ner",
        "wikigold_evokd.jsonl",
        (
            *_NAMES,
            *_EVOKD,
            "method.rounds=2",
            "method.mistake_margin=0.3",
            "training.start_epochs=12",
            "training.round_epochs=8",
        ),
    ),
    Case(
        "llkd_ner",
        "wikigold_pool.jsonl",
        (*_NAMES, "method=llkd", *_LLKD, "method.pool_size=40", "training.start_epochs=30"),
    ),
    Case(
        "llm_da",
        "wikigold_llm_da.jsonl",
        (
            *_NAMES,
            "method=llm_da",
            *_WRITING,
            "method.max_tokens=72",
            "method.rounds=2",
            "method.n_texts=20",
            "training.start_epochs=20",
            "training.round_epochs=6",
            "training.final_epochs=2",
        ),
    ),
    Case(
        "sweep_feedback",
        "snips_evokd.jsonl",
        (*_CLASSES, "data=snips", *_EVOKD, "method.rounds=2", "sweep.name=feedback"),
        sweep=("-m", "ablation=none,no_feedback", "seed=1,2"),
    ),
)
