"""Ctrl-C: the first signal sets a flag, the second one exits."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tutelage.interruption import Interrupted, Interruption, stoppable


def test_nothing_asked_nothing_stopped() -> None:
    with Interruption() as interruption:
        interruption.check()
        interruption.check("any", "reply")
        assert not interruption.asked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_acted_on_at_the_next_safe_place(number: signal.Signals) -> None:
    with Interruption() as interruption:
        os.kill(os.getpid(), number)
        time.sleep(0)  # Python runs signal handlers between two instructions
        assert interruption.asked
        with pytest.raises(Interrupted, match=r"Stopped on request\. All replies so far are kept"):
            interruption.check()
    assert Interrupted.exit_code == 130


def test_the_second_signal_ends_at_once() -> None:
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interruption.asked


def handlers() -> list[object]:
    return [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_the_handlers_are_given_back_after_an_error_too() -> None:
    def fail() -> None:
        with Interruption():
            assert handlers() != before
            raise RuntimeError

    before = handlers()
    with pytest.raises(RuntimeError):
        fail()
    assert handlers() == before


def test_what_nohup_keeps_from_a_run_stays_kept_from_it() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
            interruption.check()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_where_nobody_listens_yet_a_signal_ends_like_ctrl_c(number: signal.Signals) -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), stoppable():
        signal.raise_signal(number)
    assert handlers() == before
