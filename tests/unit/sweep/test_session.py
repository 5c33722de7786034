"""The frame around a sweep's jobs."""

from __future__ import annotations

import signal

import pytest

from tutelage.sweep.session import _stoppable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_sweep_like_ctrl_c(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), _stoppable():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
