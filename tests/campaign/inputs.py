"""Tiny students and data for the campaign, and the runs that it disturbs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.helpers import tiny, tiny_ner
from tests.helpers.multirun import environment
from tests.helpers.teachers import ASKS

POOL = ("training.start_epochs=3", "training.final_epochs=1")


def environment_in(folder: Path) -> dict[str, str]:
    """Environment of a process whose cache and log of requests lie in ``folder``."""
    return {
        **environment(),
        ASKS: str(folder / "asks"),
        "TUTELAGE_CACHE": str(folder / "user-cache"),
        "OMP_NUM_THREADS": "1",
    }


@dataclass(frozen=True)
class Inputs:
    """Students and data of both tasks, in one folder."""

    student: Path
    data: Path
    ner_student: Path
    ner_data: Path

    @classmethod
    def write(cls, folder: Path) -> Inputs:
        """Write them; takes a few seconds."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(
            tiny.tiny_student(folder / "tiny-bert"),
            tiny.small_data(folder / "small"),
            tiny_ner.ner_student(folder / "tiny-tagger"),
            tiny_ner.ner_data(folder / "names"),
        )

    def classification(self, cache: str = "replies.sqlite", **teacher: object) -> list[str]:
        """Overrides of a classification run with the scripted teacher."""
        return tiny.scripted(self.student, self.data, Path(cache), **teacher)

    def ner(self, cache: str = "replies.sqlite", **teacher: object) -> list[str]:
        """Overrides of an NER run with the scripted teacher."""
        return tiny_ner.scripted_ner(self.ner_student, self.ner_data, Path(cache), **teacher)

    def runs(self, **teacher: object) -> dict[str, list[str]]:
        """Overrides of each run that the campaign disturbs: both tasks, three methods and more."""
        cls, ner = self.classification(**teacher), self.ner(**teacher)
        demand = ["method=llkd_on_demand", "method.first=8", "method.rounds=2", "method.n_texts=4"]
        short = ["training.start_epochs=2", "training.round_epochs=1"]
        return {
            "cls-evokd": [*cls, *tiny.EVOKD, "evaluate.teacher=true"],
            "ner-evokd": [*ner, *tiny_ner.EVOKD_NER],
            "cls-llkd": [*cls, "method=llkd", *POOL],
            "ner-llkd": [*ner, "method=llkd", *POOL],
            "cls-on-demand": [*cls, *demand, *short],
            "ner-on-demand": [*ner, *demand, *short],
        }
