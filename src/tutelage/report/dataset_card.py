"""README.md of an exported pool: where its texts and labels come from, and what they are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.records import Row
from tutelage.report.card_facts import CardOptions, common_facts
from tutelage.report.figures_rows import reason_kind
from tutelage.report.markdown import card_environment, front_matter
from tutelage.runs.read import Run

_TASKS = {False: "text-classification", True: "token-classification"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(
    run: Run,
    files: Mapping[str, str],
    columns: Sequence[tuple[str, str]],
    withheld: int,
    options: CardOptions,
) -> str:
    """Return the card of an exported pool.

    Args:
        run: The run.
        files: File of each split, relative to the card.
        columns: Name and meaning of each column.
        withheld: Number of rows without their text.
        options: What the user says about the card.
    """
    facts = common_facts(run, options)
    accepted = [row for row in run.rows if row.accepted]
    rejected = [row for row in run.rows if not row.accepted]
    labels = Counter(name for row in accepted for name in _classes(run, row))
    facts |= {
        "head": front_matter(_head(facts, files)),
        "files": files,
        "columns": columns,
        "withheld": withheld,
        "rows": len(run.rows),
        "accepted": len(accepted),
        "rejected": len(rejected),
        "labels": [(label, labels[label.name]) for label in run.task.labels],
        "reasons": Counter(safe_reason(row.reason) for row in rejected).most_common(15),
    }
    return card_environment().get_template("dataset_card.md.j2").render(facts)


def safe_reason(reason: str) -> str:
    """Return the reason of a rejection without what it quotes: words of a text, or an engine."""
    return reason_kind(reason.partition(" failed: ")[0] + (" failed" * (" failed: " in reason)))


def _classes(run: Run, row: Row) -> Sequence[str]:
    """Return the label of a row; for NER the type of each entity."""
    if run.task.is_token_level:
        from tutelage.tasks.spans import read_spans

        return [span.type for span in read_spans(row.target)]
    return [row.target]


def _head(facts: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Return the front matter."""
    data, rows = facts["data"], len(facts["run"].rows)
    size = next((name for limit, name in _SIZES if rows < limit), "1M<n<10M")
    tags = ["tutelage", facts["manifest"].get("method")]
    if facts["teacher"]:
        tags += ["llm-labelled", *(["synthetic"] if facts["wrote"] else [])]
    head = {
        "pretty_name": facts["name"],
        "language": [data.language] if data.language else None,
        "license": facts["options"].license,
        "task_categories": [_TASKS[facts["is_ner"]]],
        "annotations_creators": ["machine-generated"]
        if facts["teacher"] or facts["self_labelled"]
        else None,
        "size_categories": [size],
        "tags": [tag for tag in tags if tag],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": path} for name, path in files.items()],
            }
        ],
    }
    return {name: value for name, value in head.items() if value}
