"""Replaces ``python -m tutelage.cli train …``: writes a run's files, ends by ``method.end=…``."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

FAKE = Path(__file__)


def main(overrides: list[str]) -> int:
    """Do as told."""
    values = dict(override.partition("=")[::2] for override in overrides)
    folder = Path((values.get("hydra.run.dir") or values["resume"]).strip("'"))
    end = values.get("method.end", "done")
    if end == "mute":
        print("a line")
        return 1
    (folder / "overrides.json").write_text(json.dumps(overrides))
    status = {
        "state": "running",
        "started": "1",
        "round": 2,
        "phase": "labelling",
        "error": "",
        "updated": datetime.now(UTC).isoformat(),
    }
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "manifest.json").write_text(json.dumps({"config_hash": os.environ["FAKE_HASH"]}))
    print("a line")
    if end == "killed" and "resume" not in values:
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "slow":
        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # as a run does, whatever it inherits
        presses = int(values.get("method.presses", 1))
        (folder / "ready").touch()
        for _ in range(presses):
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                (folder / "told").touch()
        return 130
    if end == "failed":
        (folder / "status.json").write_text(
            json.dumps({**status, "state": "failed", "error": "it went\nwrong"})
        )
        return 5
    if end == "broken":
        print("tutelage: there is no such thing")
        return 2
    score = float(values.get("seed", 1)) / 10
    result = {
        "metrics": [{"key": "accuracy"}],
        "after": {"accuracy": score, "macro_f1": score / 2},
        "tokens": {"billed": 1000},
    }
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "status.json").write_text(json.dumps({**status, "state": "done"}))
    return 0


if __name__ == "__main__":
    # -P -m tutelage.cli train …
    sys.exit(main(sys.argv[5:]))
