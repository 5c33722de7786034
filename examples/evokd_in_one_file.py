"""EvoKD in one file: a teacher studies a student's mistakes and writes its next training examples.

    python examples/evokd_in_one_file.py

No model, no download, a few seconds on a CPU. The teacher is scripted and the student is a bag of
words, but the loop is that of `tutelage` (after Liu et al. 2024):

    1. The student predicts the newest rows before it trains on them.
    2. The teacher reads the right and wrong answers and writes an analysis of the weakness.
    3. It writes hard texts (with the analysis) and easy texts, more of both for weak classes.
    4. It labels each text in a separate query; the surest half of each class is accepted.
    5. The student trains on the new rows and the gold shots. Back to step 1.
    6. After the last round the student trains on every accepted row.

One `Trainer.fit` covers all rounds: a callback grows the training set between epochs.

This world is too easy to compare methods: without the analysis the student ends at the same
accuracy. docs/results has measurements on real data.
"""

import logging
import random
import warnings
from typing import NamedTuple
from zlib import crc32

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

# What the teacher knows: intents, the topics of each, the words of each topic.
WORLD = {
    "weather": {"rain": "rain umbrella wet", "heat": "sun hot degrees", "wind": "storm gale gust"},
    "music": {"songs": "song tune lyrics", "shows": "band stage tour", "radio": "dj host channel"},
    "travel": {"trains": "rail coach line", "flights": "gate jet wing", "stays": "hotel bed key"},
    "food": {
        "cooking": "recipe oven bake",
        "dining": "menu waiter bill",
        "shops": "bread rice egg",
    },
}
LABELS = list(WORLD)
FILLERS = "please the for me tonight in paris now a with can you find some about near"
ROUNDS, HARD, EASY = 6, 16, 16  # hard and easy texts per round
START_EPOCHS, ROUND_EPOCHS, FINAL_EPOCHS = 30, 3, 4
FOCUS = 0.5  # the share of a round that goes to classes by weakness (1 - F1) instead of evenly


class Row(NamedTuple):
    """A training example; round 0 holds the gold shots."""

    text: str
    label: str
    round: int = 0


def write_text(label: str, topic: str, rng: random.Random) -> str:
    """Two words of the topic among four fillers, in random order."""
    chosen = rng.sample(WORLD[label][topic].split(), 2) + rng.sample(FILLERS.split(), 4)
    return " ".join(rng.sample(chosen, len(chosen)))


class ScriptedTeacher:
    """Stands in for an LLM: text in, text out, with the faults of a small model."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.requests = rng, 0

    def analyse(self, wrong: list[Row], right: list[Row]) -> str:
        """Name the topics that the student gets wrong and never right."""
        self.requests += 1
        missed, known = ({self._topic(row) for row in rows} for rows in (wrong, right))
        return f"The model misses texts about {', '.join(sorted(missed - known)) or 'nothing'}."

    def write(self, label: str, analysis: str = "") -> str:
        """Write a text of a class, on a topic that the analysis names; one in seven slips."""
        self.requests += 1
        label = self.rng.choice(LABELS) if self.rng.random() < 1 / 7 else label
        hinted = [topic for topic in WORLD[label] if topic in analysis]
        return write_text(label, self.rng.choice(hinted or list(WORLD[label])), self.rng)

    def label(self, text: str) -> dict[str, float]:
        """Probability of each class for a text; noisy, and independent of who wrote the text."""
        self.requests += 1
        known = {name: set(" ".join(WORLD[name].values()).split()) for name in LABELS}
        hits = [2.0 * len(known[name] & set(text.split())) for name in LABELS]
        scores = torch.tensor([hit + self.rng.gauss(0, 1) for hit in hits]).softmax(0)
        return dict(zip(LABELS, scores.tolist(), strict=True))

    def _topic(self, row: Row) -> str:
        words = set(row.text.split())
        topics = WORLD[row.label].items()
        return max(topics, key=lambda topic: len(words & set(topic[1].split())))[0]


class Student(pl.LightningModule):
    """A linear layer over a bag of hashed words; any LightningModule would do."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.EmbeddingBag(4096, 32)
        self.head = torch.nn.Linear(32, len(LABELS))

    def forward(self, rows: list[Row]) -> torch.Tensor:
        """Logits, [rows, classes]."""
        ids = [[crc32(word.encode()) % 4096 for word in row.text.split()] for row in rows]
        return self.head(self.words(torch.tensor(ids)))

    def training_step(self, rows: list[Row], _: int) -> torch.Tensor:
        """Cross-entropy against the labels that the teacher gave."""
        targets = torch.tensor([LABELS.index(row.label) for row in rows])
        return torch.nn.functional.cross_entropy(self(rows), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.02)

    @torch.no_grad()
    def outcomes(self, rows: list[Row]) -> list[tuple[Row, str]]:
        """Each row with its predicted label."""
        indices = self(rows).argmax(1).tolist()
        return [(row, LABELS[index]) for row, index in zip(rows, indices, strict=True)]


def quota(total: int, feedback: list[tuple[Row, str]]) -> dict[str, int]:
    """Share `total` texts among the classes: a part evenly, a part by weakness (1 - F1)."""
    weakness = {}
    for name in LABELS:
        right = sum(row.label == name == predicted for row, predicted in feedback)
        either = sum((row.label == name) + (predicted == name) for row, predicted in feedback)
        weakness[name] = 1.1 - (2 * right / either if either else 0.0)
    whole = sum(weakness.values())
    return {
        name: round(total * ((1 - FOCUS) / len(LABELS) + FOCUS * weakness[name] / whole))
        for name in LABELS
    }


class EvoKD(pl.Callback):
    """Moves the run from stage to stage: the start on the shots, the rounds, the final passes."""

    def __init__(self, shots: list[Row], test: list[Row], teacher: ScriptedTeacher) -> None:
        self.pool, self.test, self.teacher = list(shots), test, teacher
        self.stage, self.round, self.epochs_left = "start", 0, START_EPOCHS
        self.feedback: list[tuple[Row, str]] = []  # outcomes of the newest rows

    def rows(self) -> list[Row]:
        """The rows of an epoch: in a round its own and the shots, otherwise all."""
        return [r for r in self.pool if self.stage != "round" or r.round in (0, self.round)]

    def on_train_epoch_end(self, trainer: pl.Trainer, student: Student) -> None:
        """At the end of a stage: measure, then begin the next one."""
        self.epochs_left -= 1
        if self.epochs_left:
            return
        right = sum(row.label == predicted for row, predicted in student.outcomes(self.test))
        self.accuracy = right / len(self.test)
        print(f"{self.stage:5} {self.round}  {len(self.pool):3} rows  test {self.accuracy:.2f}")
        if self.stage == "final":
            trainer.should_stop = True
        elif self.round == ROUNDS:
            self.stage, self.epochs_left = "final", FINAL_EPOCHS
        else:
            self.stage, self.round, self.epochs_left = "round", self.round + 1, ROUND_EPOCHS
            fresh = self.grow()
            self.pool += fresh
            self.feedback = student.outcomes(fresh)  # predict first, train afterwards

    def grow(self) -> list[Row]:
        """One round: analysis, hard and easy texts, a label for each, acceptance."""
        wrong = [row for row, predicted in self.feedback if predicted != row.label]
        right = [row for row, predicted in self.feedback if predicted == row.label]
        analysis = self.teacher.analyse(wrong, right) if self.feedback else ""
        accepted = []
        for total, note in ((HARD, analysis), (EASY, "")):
            for name, count in quota(total, self.feedback).items():
                texts = [self.teacher.write(name, note) for _ in range(count)]
                confidence = {text: self.teacher.label(text)[name] for text in texts}
                surest = sorted(confidence, key=confidence.__getitem__, reverse=True)
                accepted += [Row(text, name, self.round) for text in surest[: (count + 1) // 2]]
        return accepted


class GrowingData(pl.LightningDataModule):
    """Asks the method for the rows of each epoch."""

    def __init__(self, method: EvoKD) -> None:
        super().__init__()
        self.method = method

    def train_dataloader(self) -> DataLoader:
        """Batches of eight rows."""
        return DataLoader(self.method.rows(), batch_size=8, shuffle=True, collate_fn=list)


def main(seed: int = 1) -> float:
    """Grow a training set from one shot per class; return the accuracy on test."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    pl.seed_everything(seed, verbose=False)
    rng = random.Random(seed)
    # Each shot covers one topic of its class; test covers them all.
    shots = [Row(write_text(name, next(iter(WORLD[name])), rng), name) for name in LABELS]
    topics = [(name, topic) for name in LABELS for topic in WORLD[name]]
    test = [Row(write_text(name, topic, rng), name) for name, topic in topics * 25]
    method = EvoKD(shots, test, ScriptedTeacher(rng))
    trainer = pl.Trainer(
        max_epochs=-1,
        accelerator="cpu",
        callbacks=[method],
        reload_dataloaders_every_n_epochs=1,  # the training set grows between epochs
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Student(), datamodule=GrowingData(method))
    print(f"{len(shots)} gold labels, {method.teacher.requests} teacher requests")
    return method.accuracy


if __name__ == "__main__":
    main()
