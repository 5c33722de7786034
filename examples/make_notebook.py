"""Makes quickstart.ipynb from quickstart.py, which is the source.

    python examples/make_notebook.py

The source is in percent format: ``# %%`` begins a cell of code, ``# %% [markdown]`` one of text.
A test checks that the two files agree.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("quickstart.py")
NOTEBOOK = SOURCE.with_suffix(".ipynb")


def cells(source: str) -> list[dict[str, Any]]:
    """The cells of a source in percent format, without outputs."""
    parts = re.split(r"^# %%(.*)\n", source, flags=re.MULTILINE)[1:]
    found: list[dict[str, Any]] = []
    for number, (kind, body) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        lines = body.strip("\n").splitlines(keepends=True)
        if "[markdown]" in kind:
            text = [re.sub(r"^# ?", "", line) for line in lines]
            cell: dict[str, Any] = {"cell_type": "markdown", "source": text}
        else:
            cell = {"cell_type": "code", "execution_count": None, "outputs": [], "source": lines}
        found.append({"id": f"cell-{number}", "metadata": {}, **cell})
    return found


def notebook(source: str) -> str:
    """The notebook as JSON (nbformat 4.5)."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {
        "cells": cells(source),
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
