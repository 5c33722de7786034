"""The supervised ceiling shows itself as one phase, and hides no warning."""

from __future__ import annotations

from tests.helpers.fitting import RecordingReporter

from tutelage.references import _OnePhase


class Listener(RecordingReporter):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def notice(self, message: str) -> None:
        self.told.append(message)

    def warn(self, message: str) -> None:
        self.told.append(message)


def test_notices_and_warnings_of_a_reference_reach_the_user() -> None:
    listener = Listener()
    shown = _OnePhase(listener)
    shown.notice("a fact")
    shown.warn("a warning")
    shown.phase("training", 3, 5)
    assert listener.told == ["a fact", "a warning"]
    assert listener.phases == [("supervised ceiling", 3)]
