"""Builds run folders with invented contents for tests of the report."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tutelage.records import ClassScore, LabelDistribution, Outcome, Row, record_id

LABELS = ("BookRestaurant", "AddToPlaylist", "SearchScreeningEvent")
METRICS = [{"key": "accuracy", "title": "accuracy"}, {"key": "macro_f1", "title": "macro-F1"}]
REASONS = ("scored as another class", "near duplicate", "too short", "confidence below 0.6")
_OPENINGS = (
    "could you",
    "please",
    "i want to",
    "help me",
    "is it possible to",
    "hey,",
    "right now",
)
_ENDINGS = (
    "for two at eight tonight",
    "near the old harbour",
    "before the weekend starts",
    "that my sister likes",
    "in the centre of town",
    "",
)


def build_run(
    folder: Path,
    *,
    labels: Sequence[str] = LABELS,
    rounds: int = 4,
    rows_a_round: int = 14,
    test_count: int = 90,
    state: str = "done",
    method: str = "evokd",
    texts: Sequence[str] = (),
    seed: int = 0,
) -> Path:
    """Writes a run folder in the format of docs/reference/run-folder.md.

    Args:
        folder: The folder to write.
        labels: Class names.
        rounds: Rounds of growth; 0 makes a run without growth.
        rows_a_round: Generated rows per round.
        test_count: Test texts.
        state: "done", or a state without the files written at the end.
        method: Name of the method.
        texts: Spread over every field that can hold text from a model or from data.
        seed: Seed of all contents.

    Returns:
        ``folder``.
    """
    dice = random.Random(seed)
    labels = tuple(labels)
    spice = list(texts)

    def say(label: str) -> str:
        if spice and dice.random() < 0.5:
            return dice.choice(spice)
        opening, number = dice.choice(_OPENINGS), dice.randrange(10_000)
        return f"{opening} {label.lower()} {number} {dice.choice(_ENDINGS)}".strip()

    def opinion(label: str, sharpness: float) -> tuple[float, ...]:
        weights = [
            dice.random() + (sharpness * dice.random() if name == label else 0.0) for name in labels
        ]
        return tuple(weight / sum(weights) for weight in weights)

    def outcome(label: str, skill: float, source: str, number: int, key: int) -> Outcome:
        probabilities = opinion(label, 6.0 * skill)
        top = labels[probabilities.index(max(probabilities))]
        return Outcome(
            record_id(source, key), say(label), label, top, probabilities, source, number
        )

    def row(label: str, number: int, kind: Any, parents: tuple[str, ...]) -> Row:
        raw = opinion(label, 2.0)
        calibrated = opinion(label, 8.0)
        view = LabelDistribution(labels, calibrated, dice.random() / 5, raw)
        reason = "" if view.top == label and dice.random() < 0.85 else dice.choice(REASONS)
        text = say(label)
        detail = {
            "style": dice.choice(("polite", "curt", "a question")),
            "topic": dice.choice(spice or ["everyday life"]),
        }
        if reason == "near duplicate":
            detail["similar_to"] = say(label)
        return Row(
            record_id(number, text, dice.random()),
            text,
            view.top,
            kind,
            number,
            not reason,
            reason,
            view,
            label,
            parents,
            1.0,
            detail,
        )

    skills = [0.35 + 0.5 * (1 - 0.6**number) for number in range(rounds + 1)]
    rows = [
        Row(record_id("gold", index), say(label), label, "gold", 0, True)
        for index, label in enumerate(labels)
    ]
    tokens = 0
    metrics = []
    for number in range(rounds + 1):
        dev = [
            outcome(labels[index % len(labels)], skills[number], "dev", number, index)
            for index in range(max(40, test_count // 2))
        ]
        test = [
            outcome(labels[index % len(labels)], skills[number], "test", number, index)
            for index in range(test_count)
        ]
        if number in (0, rounds):
            if number == rounds and state == "done":
                write_jsonl(folder / "predictions" / "test-after.jsonl", map(asdict, test))
            if number == 0:
                write_jsonl(folder / "predictions" / "test-before.jsonl", map(asdict, test))
        wrong = [one for one in dev if not one.correct]
        if number < rounds:
            write_jsonl(folder / "feedback" / f"round-{number:03d}.jsonl", map(asdict, wrong))
            parents = tuple(one.id for one in wrong[:2])
            made = [
                row(dice.choice(labels), number + 1, dice.choice(("easy", "hard", "hard")), parents)
                for _ in range(rows_a_round)
            ]
            quota: dict[str, int] = {}
            for one in made:
                quota[f"{one.asked}/{one.source}"] = quota.get(f"{one.asked}/{one.source}", 0) + 1
            growth = {
                "round": number + 1,
                "analysis": f"The student confuses {labels[0]} with {labels[-1]} when a time is "
                "named.\nShort requests are missed. " + " ".join(spice),
                "quota": quota,
                "seconds": {"analysis": 1.5, "generation": 8.25, "labelling": 2.0},
                "asked": 2 * len(made) + 1,
                "answered": 2 * len(made),
                "rejected": 1,
                "failed": 1,
                "prompt": "Here are requests and how they were understood.\n"
                + say(labels[0])
                + "\nWhat goes wrong?",
            }
            write_json(folder / "growth" / f"round-{number + 1:03d}.json", growth)
        metrics.append(
            {
                "round": number,
                "epoch": number,
                "billed_tokens": tokens,
                "spent_tokens": tokens // 3,
                "accepted": sum(one.accepted for one in rows),
                "rejected": sum(not one.accepted for one in rows),
                "train_loss": 1.2 / (number + 1),
                "dev": _scored(dev, labels),
                "test": _scored(test, labels),
                "fresh": None,
                "seconds": {"train": 2.5, "growth": 11.0},
            }
        )
        if number < rounds:
            rows += made
            tokens += 61 * len(made) + 240
    write_jsonl(folder / "metrics.jsonl", metrics)
    write_jsonl(folder / "pool" / "rows.jsonl", map(asdict, rows))
    write_jsonl(
        folder / "selection.jsonl",
        [_selected(step, len(labels), dice) for step in range(60)] if rounds else [],
    )
    teacher = [
        {"id": record_id("test", index), "target": labels[index % len(labels)]}
        | {
            "probabilities": opinion(labels[index % len(labels)], 5.0),
            "raw": opinion(labels[index % len(labels)], 1.5),
            "off_label_mass": 0.1,
        }
        for index in range(test_count)
    ]
    write_jsonl(folder / "teacher" / "evaluation.jsonl", teacher)
    gold = {"shots": len(labels), "dev": 40, "calibration": 0}
    write_json(
        folder / "manifest.json",
        {
            "tutelage": "0.1.0",
            "python": "3.11.9",
            "platform": "Linux",
            "packages": {"torch": "2.13.0", "transformers": "5.19.0", "vllm": "0.32.0"},
            "commit": "0123abc",
            "hardware": {"cpu": "a test CPU", "cores": 2, "memory_gb": 8, "gpu": None},
            "seed": seed,
            "config_hash": "c0ffee",
            "name": spice[0] if spice else "synthetic_test",
            "method": method,
            "ablation": None,
            "task": "classification",
            "metrics": METRICS,
            "labels": [
                {"name": label, "word": label.lower(), "description": f"requests to {label}"}
                for label in labels
            ],
            "teacher": {
                "engine": "replay",
                "model": "test-teacher",
                "fingerprint": "f00d",
                "calibration": "batch",
            },
            "student": {"model": "test-student"},
            "data": {
                "name": "synthetic",
                "pool": 500,
                "dev": 40,
                "test": test_count,
                "dropped": {"duplicate": 3, "in test": 1},
            },
            "gold_labels": gold,
            "truncated": {"student": 2, "teacher": 0},
        },
    )
    status: dict[str, Any] = {
        "state": state,
        "phase": "growth",
        "round": rounds,
        "started": "2026-01-05T10:00:00+00:00",
    }
    status |= {"updated": "2026-01-05T10:07:31+00:00", "error": "", "resume_command": ""}
    if state in ("failed", "interrupted"):
        status |= {
            "error": spice[0] if spice else "The teacher died.",
            "resume_command": "tutelage train name=synthetic_test resume=true",
        }
    write_json(folder / "status.json", status)
    (folder / "config.yaml").write_text("method: " + json.dumps(method) + "\n", encoding="utf-8")
    if state == "done":
        short_scores = [
            {key: line["test"][key] for key in ("accuracy", "macro_f1")} for line in metrics
        ]
        result = {
            "metrics": METRICS,
            "before": short_scores[0],
            "after": short_scores[-1],
            "supervised": {"accuracy": 0.93, "macro_f1": 0.925},
            "teacher": {"accuracy": 0.74, "macro_f1": 0.73, "raw": 0.48} if rounds else None,
            "tokens": {
                "billed": tokens,
                "spent": tokens // 3,
                "billed_prompt": tokens // 2,
                "billed_completion": tokens - tokens // 2,
            },
            "seconds": {
                "teacher start": 6.1,
                "generation": 8.25 * rounds,
                "labelling": 2.0 * rounds,
                "training": 2.5 * (rounds + 1),
            },
            "rows": {
                "accepted": sum(one.accepted for one in rows),
                "rejected": sum(not one.accepted for one in rows),
            },
            "share_of_data": {
                "unique": 0.25,
                "selections": None,
                "unique_rows": 25,
                "pool": 100,
                "kept": None,
                "passed": None,
            },
            "wall_seconds": 451.0,
            "rounds": rounds,
            "stopped_by": "rounds",
            "pool_hash": "abc123",
            "gold_labels": gold,
            "seed": seed,
        }
        write_json(folder / "result.json", result)
    return folder


def _scored(outcomes: Sequence[Outcome], labels: Sequence[str]) -> dict[str, Any]:
    per_class = {}
    for label in labels:
        hit = sum(one.correct and one.target == label for one in outcomes)
        said, there = (
            sum(one.predicted == label for one in outcomes),
            sum(one.target == label for one in outcomes),
        )
        per_class[label] = asdict(
            ClassScore(
                hit / max(said, 1), hit / max(there, 1), 2 * hit / max(said + there, 1), there
            )
        )
    macro = sum(score["f1"] for score in per_class.values()) / len(per_class)
    return {
        "accuracy": sum(one.correct for one in outcomes) / len(outcomes),
        "macro_f1": macro,
        "per_class": per_class,
    }


def write_json(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


def _selected(step: int, classes: int, dice: random.Random) -> dict[str, Any]:
    """A selector's line for one step; one class appears late, and one never."""
    seen = {str(key): dice.randint(1, 4) for key in range(classes - 1) if key or step > 20}
    kept = {key: count // 2 for key, count in seen.items() if count > 1}
    every, few = sum(seen.values()), sum(kept.values())
    sure = [
        None if (key == 0 and step <= 20) or key == classes - 1 else 0.5 + key / classes / 3
        for key in range(classes)
    ]
    return {
        "epoch": step // 20,
        "steps": step,
        "seen": seen,
        "kept": kept,
        "right_of_seen": [every * 3 // 4, every],
        "right_of_kept": [few - few // 4, few],
        "weight": 0.5,
        "tau_teacher": sure,
        "tau_student": [value and value * (1 - step / 90) for value in sure],
    }


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records),
        encoding="utf-8",
    )
