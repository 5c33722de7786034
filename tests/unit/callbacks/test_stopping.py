"""Ctrl-C is looked for after each batch."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tutelage.callbacks.housekeeping import StopWhenAsked
from tutelage.interruption import Interrupted, Interruption


def test_it_stops_once_asked() -> None:
    interruption = Interruption()
    callback = StopWhenAsked(interruption)
    nothing = cast(Any, None)
    callback.on_train_batch_end(nothing, nothing, None, None, 0)
    interruption.asked = True
    with pytest.raises(Interrupted, match="All replies so far are kept"):
        callback.on_train_batch_end(nothing, nothing, None, None, 1)
