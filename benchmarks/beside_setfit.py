"""Question: does SetFit make more of the same labels than the student of a run?

    python -m venv OTHER && OTHER/bin/pip install setfit==1.2.0
    OTHER/bin/python benchmarks/beside_setfit.py --encoder FOLDER --runs RUN [RUN ...]

For each finished run on classes, SetFit (Tunstall et al. 2022, arXiv 2209.11055) learns from the
rows that the run was given (the gold shots, and the names of the classes with
``student.class_names=true``), and from all rows that its student learnt from: these and the
accepted ones with the teacher's labels, each once and with the same weight. Both are scored on the
run's own test texts, beside the student before its first round (shots) and after its last (rows).
``FOLDER`` has the encoder that the students began with. Needs setfit, not tutelage.

SetFit trains on pairs of texts. With ``all``, its default, each pair is seen once and the rarer
kind repeated, so that time grows with the square of the rows: the default here for shots only. A
number is that of pairs of one class for each row, and as many of two; for rows the paper's 20. With
0 the encoder stays as it is and only SetFit's logistic regression is fitted. Everything else is
SetFit's default. Fits are kept in ``--folder``: a second call, and a run with the same shots,
takes them from there. Seconds are CPU seconds of the fit, without loading and testing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs import interval, read_lines

Texts = list[tuple[str, str]]
"""Texts with their classes."""
GIVEN = ("gold", "class_name")
"""Sources of the rows that the student starts from."""


@dataclass(frozen=True)
class Run:
    """What a run learnt from and how well its student did."""

    name: str
    seed: int
    shots: Texts
    rows: Texts
    test: Texts
    before: float
    after: float


def read_run(folder: Path) -> Run:
    """Reads the folder of a finished run.

    Args:
        folder: The folder of the run.

    Raises:
        SystemExit: The run has no result, or labels words instead of texts.
    """
    if not (folder / "result.json").exists():
        raise SystemExit(f"{folder} has no result.json: finish the run by resume={folder}.")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    if "accuracy" not in result["after"]:
        raise SystemExit(f"{folder} is a run on entities, and SetFit labels texts: leave it out.")
    rows = [row for row in read_lines(folder / "pool" / "rows.jsonl") if row["accepted"]]
    return Run(
        name=folder.name,
        seed=result["seed"],
        shots=[(row["text"], row["target"]) for row in rows if row["source"] in GIVEN],
        rows=[(row["text"], row["target"]) for row in rows],
        test=[
            (row["text"], row["target"])
            for row in read_lines(folder / "predictions" / "test-after.jsonl")
        ],
        before=result["before"]["accuracy"],
        after=result["after"]["accuracy"],
    )


def fit(encoder: Path, train: Texts, test: Texts, pairs: str, seed: int) -> dict[str, float]:
    """Trains SetFit and tests it: accuracy, steps on pairs, and CPU seconds."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    classes = sorted({target for _, target in train})
    texts, labels = [text for text, _ in train], [classes.index(target) for _, target in train]
    model = SetFitModel.from_pretrained(str(encoder))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_iterations=None if pairs == "all" else int(pairs),
            seed=seed,
            report_to="none",
            save_strategy="no",
            show_progress_bar=False,
        )
        data = Dataset.from_dict({"text": texts, "label": labels})
        trainer = Trainer(model=model, args=arguments, train_dataset=data)
        began = time.process_time()
        # The trainer prints its losses between the lines of the table.
        with redirect_stdout(sys.stderr):
            if pairs != "0":
                trainer.train_embeddings(texts, labels)
            trainer.train_classifier(texts, labels)
        seconds = time.process_time() - began
    found = model.predict([text for text, _ in test], as_numpy=True)
    right = [classes[one] == target for one, (_, target) in zip(found, test, strict=True)]
    return {
        "accuracy": statistics.mean(right),
        "steps": trainer.st_trainer.state.global_step,
        "seconds": seconds,
    }


def fitted(folder: Path, encoder: Path, *given: Any) -> dict[str, float]:
    """The figures of a fit, from ``folder`` where it was done before."""
    content = json.dumps([encoder.name, *given])
    path = folder / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        figures = fit(encoder, *given)
        folder.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".half")
        half.write_text(json.dumps(figures))
        half.replace(path)
    found: dict[str, float] = json.loads(path.read_text())
    return found


def pairs_of(value: str) -> str:
    """Checks a number of pairs: ``all`` or digits."""
    if value != "all" and not value.isdigit():
        raise argparse.ArgumentTypeError(f"{value!r} is neither 'all' nor a number of pairs")
    return value


def print_differences(runs: list[Run], shots: list[float], rows: list[float]) -> None:
    """Prints paired differences; runs with the same shots and test count once for shots."""
    once = {json.dumps([run.shots, run.test]): place for place, run in enumerate(runs)}
    for title, differences in {
        "shots: SetFit minus the student": [
            shots[place] - runs[place].before for place in once.values()
        ],
        "rows: SetFit minus the student": [
            score - run.after for run, score in zip(runs, rows, strict=True)
        ],
        "the student on rows minus SetFit on shots": [
            run.after - score for run, score in zip(runs, shots, strict=True)
        ],
        "SetFit: rows minus shots": [more - less for more, less in zip(rows, shots, strict=True)],
    }.items():
        above = sum(one > 0 for one in differences)
        print(f"{title}: {interval(differences)} points, above in {above} of {len(differences)}")


def main() -> None:
    """Prints one line per run, then the differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--encoder", type=Path, required=True, help="folder of the encoder")
    parser.add_argument("--pairs", type=pairs_of, default="20", help="for rows: all or a number")
    parser.add_argument("--shot-pairs", type=pairs_of, default="all", help="the same for shots")
    parser.add_argument("--folder", type=Path, default=Path("outputs/beside-setfit"))
    options = parser.parse_args()
    if not (options.encoder / "modules.json").exists():
        raise SystemExit(f"--encoder {options.encoder} is no folder of a sentence encoder.")
    os.environ["HF_HUB_OFFLINE"] = "1"

    runs = [read_run(folder) for folder in options.runs]
    print(
        f"{'accuracy in %':24s} {'shots':>5s} {'student':>7s} {'SetFit':>6s} {'steps':>5s} "
        f"{'s':>6s} | {'rows':>4s} {'student':>7s} {'SetFit':>6s} {'steps':>5s} {'s':>6s}"
    )
    scores: tuple[list[float], list[float]] = ([], [])
    for run in runs:
        line = f"{run.name:24s}"
        for texts, student, pairs, every in (
            (run.shots, run.before, options.shot_pairs, scores[0]),
            (run.rows, run.after, options.pairs, scores[1]),
        ):
            one = fitted(options.folder, options.encoder, texts, run.test, pairs, run.seed)
            every.append(one["accuracy"])
            line += (
                f" {len(texts):5d} {100 * student:7.1f} {100 * one['accuracy']:6.1f}"
                f" {one['steps']:5.0f} {one['seconds']:6.1f} |"
            )
        print(line.rstrip(" |"), flush=True)
    before, after = [run.before for run in runs], [run.after for run in runs]
    means = [100 * statistics.mean(every) for every in (before, scores[0], after, scores[1])]
    print(
        f"{'mean':24s} {'':5s} {means[0]:7.1f} {means[1]:6.1f} {'':12s} | {'':4s} "
        f"{means[2]:7.1f} {means[3]:6.1f}"
    )
    print_differences(runs, *scores)


if __name__ == "__main__":
    main()
