"""Builds NER run folders with invented contents for tests of the report."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.helpers.run_folders import build_run, write_json, write_jsonl

from tutelage.records import Label, LabelDistribution, Outcome, Row, record_id
from tutelage.tasks.ner import NerTask
from tutelage.tasks.spans import Span, write_spans

TYPES = ("PER", "LOC", "ORG")
METRICS = [{"key": "f1_strict", "title": "entity F1"}, {"key": "accuracy", "title": "texts right"}]
_NAMES = ("Ada", "Lena Curie", "New Harbour", "Acme", "Blue Star Line")
_WORDS = ("saw", "met", "left", "in", "for", "a", "the", "morning", ",")


def build_ner_run(
    folder: Path,
    *,
    types: Sequence[str] = TYPES,
    texts: Sequence[str] = (),
    test_count: int = 40,
    state: str = "done",
) -> Path:
    """A run of :func:`tests.helpers.run_folders.build_run` of two rounds, in NER's formats."""
    build_run(folder, labels=types, rounds=2, texts=texts, test_count=test_count, state=state)
    dice = random.Random(7)
    task = NerTask([Label(name, name.lower(), f"names of {name}") for name in types])

    def sentence() -> tuple[str, list[Span]]:
        words, spans = [dice.choice(_WORDS)], []
        for _ in range(dice.randint(0, 3)):
            name = dice.choice([*_NAMES, *(text for text in texts if text)]).split(" ")
            spans.append(Span(len(words), len(words) + len(name), dice.choice(types)))
            words += [*name, *dice.choices(_WORDS, k=dice.randint(1, 3))]
        return " ".join(words), spans

    def guess(spans: list[Span], words: int, skill: float) -> list[Span]:
        """Predicted spans with every kind of error; fewer errors with more skill."""
        said = []
        for span in spans:
            slip = "" if dice.random() < skill else dice.choice(("missed", "type", "boundary"))
            other = dice.choice([name for name in types if name != span.type])
            made = {
                "": span,
                "type": span._replace(type=other),
                "boundary": span._replace(start=span.start - 1),
            }.get(slip)
            said += [made] if made and all(made.start >= before.end for before in said) else []
        if dice.random() > skill and (not said or said[-1].end < words):
            said.append(Span(words - 1, words, dice.choice(types)))
        return said

    def outcome(key: int, source: str, number: int, skill: float) -> Outcome:
        text, spans = sentence()
        predicted = write_spans(guess(spans, len(text.split(" ")), skill))
        return Outcome(
            record_id(source, key),
            text,
            write_spans(spans),
            predicted,
            (round(dice.uniform(0.2, 1), 4),),
            source,
            number,
        )

    def row(number: int, kind: Any, accepted: bool) -> Row:
        text, spans = sentence()
        shares = [dice.random() for _ in range(len(types) + 1)]
        view = LabelDistribution((*types, "O"), tuple(share / sum(shares) for share in shares), 0.1)
        reason = "" if accepted else f"does not hold {dice.choice(_NAMES)!r}"
        sure = tuple(round(dice.random(), 4) for _ in spans) if accepted else ()
        key = record_id(number, text, dice.random())
        target = write_spans(spans) if accepted else "[]"
        return Row(
            key,
            text,
            target,
            kind,
            number,
            accepted,
            reason,
            view if accepted else None,
            dice.choice(types),
            entity_confidence=sure,
        )

    rows = [
        Row(record_id("gold", index), *_gold(*sentence()), "gold", 0, True) for index in range(3)
    ]
    rows += [
        row(number, kind, dice.random() < 0.6)
        for number in (1, 2)
        for kind in ("easy", "hard")
        for _ in range(6)
    ]
    write_jsonl(folder / "pool" / "rows.jsonl", map(asdict, rows))
    metrics = [
        json.loads(line)
        for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    for number, line in enumerate(metrics):
        outcomes = [
            outcome(index, "test", number, 0.4 + 0.2 * number) for index in range(test_count)
        ]
        if number == 0:
            write_jsonl(folder / "predictions" / "test-before.jsonl", map(asdict, outcomes))
        if number == 2 and state == "done":
            write_jsonl(folder / "predictions" / "test-after.jsonl", map(asdict, outcomes))
        wrong = [one for one in outcomes if not one.correct]
        if number < 2:
            write_jsonl(folder / "feedback" / f"round-{number:03d}.jsonl", map(asdict, wrong))
        line["dev"] = line["test"] = task.metrics(outcomes)
    write_jsonl(folder / "metrics.jsonl", metrics)
    gold = [outcome(index, "test", 2, 0.8) for index in range(test_count)]
    write_jsonl(folder / "supervised" / "predictions" / "test-after.jsonl", map(asdict, gold))
    teacher = [outcome(index, "test", 0, 0.7) for index in range(test_count)]
    write_jsonl(
        folder / "teacher" / "evaluation.jsonl",
        [
            {
                "id": one.id,
                "target": one.target,
                "text": one.text,
                "predicted": one.predicted,
                "confidences": [0.8] * len(json.loads(one.predicted)),
            }
            for one in teacher
        ],
    )
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    write_json(folder / "manifest.json", manifest | {"task": "ner", "metrics": METRICS})
    if state == "done":

        def headline(measured: dict[str, Any]) -> dict[str, Any]:
            return {metric["key"]: measured[metric["key"]] for metric in METRICS}

        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        result |= {
            "metrics": METRICS,
            "before": headline(metrics[0]["test"]),
            "after": headline(metrics[-1]["test"]),
        }
        result |= {"supervised": headline(task.metrics(gold)) | {"gold_labels": 500}}
        result |= {
            "teacher": headline(task.metrics(teacher)) | {"raw": None, "tokens": 9, "failed": 0}
        }
        write_json(folder / "result.json", result)
    return folder


def _gold(text: str, spans: list[Span]) -> tuple[str, str]:
    return text, write_spans(spans)
