"""Python without docstrings (``python -OO``), where transformers refuses to import its models."""

from __future__ import annotations

import sys
from importlib import import_module


def live_without_docstrings() -> None:
    """Keeps transformers from writing the docstrings of its models, where Python keeps none.

    It builds them from those of its output classes, and an empty one is an error for it. Must run
    before a model is imported.
    """
    if sys.flags.optimize < 2:
        return
    writer = import_module("transformers.utils.auto_docstring")
    for name in ("auto_method_docstring", "auto_class_docstring"):
        setattr(writer, name, lambda documented, **_: documented)
