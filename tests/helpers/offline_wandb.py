"""Reads wandb's file of an offline run: protobuf records in LevelDB's 32 KiB log blocks."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER, BLOCK, FRAME = 7, 32 * 1024, struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """One run-*.wandb file, as plain values."""

    id: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)
    exit_code: int | None = None
    kinds: set[str] = field(default_factory=set)


def offline_runs(folder: Path) -> list[OfflineRun]:
    """The offline wandb runs of a run folder, oldest first; each resume adds one."""
    return [read_offline(path) for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]


def read_offline(path: Path) -> OfflineRun:
    from wandb.proto.wandb_internal_pb2 import Record

    found = OfflineRun()
    for raw in _records(path.read_bytes()):
        record = Record.FromString(raw)
        kind = record.WhichOneof("record_type")
        found.kinds.add(kind)
        if kind == "run":
            run = record.run
            found.id, found.group, found.job_type, found.name = (
                run.run_id,
                run.run_group,
                run.job_type,
                run.display_name,
            )
            found.tags = list(run.tags)
            _take(found.config, run.config.update)
        elif kind == "config":
            _take(found.config, record.config.update)
        elif kind == "history":
            found.history.append({})
            _take(found.history[-1], record.history.item)
        elif kind == "summary":
            _take(found.summary, record.summary.update)
        elif kind == "metric":
            found.metrics[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
        elif kind == "artifact":
            found.artifacts.append(record.artifact)
        elif kind == "request" and record.request.HasField("log_artifact"):
            found.artifacts.append(record.request.log_artifact.artifact)
    return found


def _take(into: dict[str, Any], items: Any) -> None:
    for item in items:
        into[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)


def _records(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    index, pieces = HEADER, b""
    while index + FRAME.size <= len(data):
        left = BLOCK - index % BLOCK
        if left < FRAME.size:
            index += left
            continue
        _, length, kind = FRAME.unpack_from(data, index)
        index += FRAME.size
        if not kind:
            break
        pieces += data[index : index + length]
        index += length
        if kind in (FULL, LAST):
            yield pieces
            pieces = b""
