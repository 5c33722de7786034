"""Texts before any student has seen them, to find out which selectors do without one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, cast

from tutelage.selectors.protocol import PoolView


class StudentAsked(Exception):
    """A selector asked a view of texts alone what the student sees in them."""


class _TextsOnly:
    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def asked(*_: Any, **__: Any) -> NoReturn:
            raise StudentAsked(name)

        return asked


def texts_only(texts: Sequence[str]) -> PoolView:
    """Returns a view of texts that raises :class:`StudentAsked` for everything else.

    Args:
        texts: The texts, in the order of the pool.
    """
    return cast(PoolView, _TextsOnly(texts))
