"""The tasks by name. Only a task with a new form of target is added (docs/how-to/add-a-task.md)."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.errors import DataError, did_you_mean
from tutelage.records import Label
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask
from tutelage.tasks.protocol import Task
from tutelage.tasks.rows import RowReader

TASKS = {task.name: task for task in (ClassificationTask, NerTask)}
"""Classes of the tasks by name."""

UNNAMED = ClassificationTask.name
"""Task of a run folder that names none, because it was written before NER existed."""


def row_reader(name: str) -> RowReader:
    """Reader of a task's rows.

    Args:
        name: Name of the task.

    Raises:
        DataError: There is no task of that name.
    """
    if name not in TASKS:
        raise DataError(
            f"{did_you_mean('task', name, TASKS)} A task of your own keeps the name of the task "
            "whose rows it reads."
        )
    return TASKS[name].row_reader


def new_task(name: str, labels: Sequence[Label]) -> Task:
    """A task with default settings.

    Args:
        name: Name of the task, one of :data:`TASKS`.
        labels: Its label space.
    """
    return TASKS[name](labels)
