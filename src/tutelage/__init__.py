"""Grow a training set from a local LLM teacher while a small student learns from it.

    import tutelage

    result = tutelage.train("data=snips", "shots=1", seed=1)
    result.metrics                      # scores on test, after growth
    result.student.predict(["Play some jazz"])
    result.report                       # report.html of the run

The classes below are imported when they are first used, so that ``import tutelage`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tutelage.docstrings import live_without_docstrings
from tutelage.threads import wait_passively
from tutelage.version import __version__

# Before torch and transformers are imported, by whatever part of the package.
wait_passively()
live_without_docstrings()

if TYPE_CHECKING:
    from tutelage.api import Result as Result
    from tutelage.api import Student as Student
    from tutelage.api import compose as compose
    from tutelage.api import load_student as load_student
    from tutelage.api import train as train
    from tutelage.callbacks.growth import GrowthCallback as GrowthCallback
    from tutelage.data.growing import GrowingDataModule as GrowingDataModule
    from tutelage.data.pool import Pool as Pool
    from tutelage.errors import TutelageError as TutelageError
    from tutelage.methods.base import Method as Method
    from tutelage.methods.base import MethodContext as MethodContext
    from tutelage.methods.evokd.method import EvoKD as EvoKD
    from tutelage.methods.pool.method import PoolLabelling as PoolLabelling
    from tutelage.records import Example as Example
    from tutelage.records import Feedback as Feedback
    from tutelage.records import Growth as Growth
    from tutelage.records import Label as Label
    from tutelage.records import Outcome as Outcome
    from tutelage.records import Row as Row
    from tutelage.student.module import StudentModule as StudentModule
    from tutelage.tasks.classification import ClassificationTask as ClassificationTask
    from tutelage.tasks.ner import NerTask as NerTask
    from tutelage.teacher.base import Teacher as Teacher

_LAZY = {
    **dict.fromkeys(("Result", "Student", "compose", "load_student", "train"), "tutelage.api"),
    "GrowthCallback": "tutelage.callbacks.growth",
    "GrowingDataModule": "tutelage.data.growing",
    "Pool": "tutelage.data.pool",
    "TutelageError": "tutelage.errors",
    **dict.fromkeys(("Method", "MethodContext"), "tutelage.methods.base"),
    "EvoKD": "tutelage.methods.evokd.method",
    "PoolLabelling": "tutelage.methods.pool.method",
    **dict.fromkeys(
        ("Example", "Feedback", "Growth", "Label", "Outcome", "Row"), "tutelage.records"
    ),
    "StudentModule": "tutelage.student.module",
    "ClassificationTask": "tutelage.tasks.classification",
    "NerTask": "tutelage.tasks.ner",
    "Teacher": "tutelage.teacher.base",
}
"""The module of each public name."""

__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tutelage' has no attribute '{name}'")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
