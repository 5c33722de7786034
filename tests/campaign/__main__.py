"""Tries the promises of docs/reliability.md.

    python -m tests.campaign                       all parts (about an hour on two cores)
    python -m tests.campaign kills --kills 100     one part
    python -m tests.campaign --out campaign.json   write the figures as JSON

Parts: kills, replies, data_files, shared_cache, full_disk, dead_server, sweeps. Exit code 1 if a
promise did not hold.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.campaign import (
    data_files,
    dead_server,
    full_disk,
    kills,
    replies,
    shared_cache,
    sweeps,
)
from tests.campaign.inputs import Inputs
from tests.campaign.outcome import Outcome

Measure = Callable[[Inputs, Path, int, random.Random], Outcome]

PARTS: dict[str, tuple[Measure, str, int]] = {
    "kills": (kills.measure, "kills", 40),
    "replies": (replies.measure, "replies", 10_000),
    "data_files": (data_files.measure, "files", 500),
    "shared_cache": (shared_cache.measure, "repeats", 3),
    "full_disk": (full_disk.measure, "sizes", 12),
    "dead_server": (dead_server.measure, "deaths", 12),
    "sweeps": (sweeps.measure, "stops", 6),
}
"""By name: the function, the option that sets how often, and its default."""


def main() -> int:
    """Run the chosen parts and print one line per part."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    for _, option, default in PARTS.values():
        parser.add_argument(f"--{option}", type=int, default=default)
    options = parser.parse_args()
    logging.getLogger("tutelage").setLevel(logging.ERROR)  # every hostile run has its warnings

    found: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
        inputs = Inputs.write(Path(scratch) / "inputs")
        for part in options.parts or PARTS:
            measure, option, _ = PARTS[part]
            began = time.monotonic()
            folder = Path(scratch) / part
            folder.mkdir()
            rng = random.Random(f"{options.seed} {part}")
            outcome = found[part] = measure(inputs, folder, getattr(options, option), rng)
            print(
                f"{part:<13} {outcome.held} of {outcome.tried} held   "
                f"{time.monotonic() - began:.0f} s   {outcome.notes}",
                flush=True,
            )
            for line in outcome.broken:
                print(f"    {line}", flush=True)
            if options.out:
                text = json.dumps({name: asdict(one) for name, one in found.items()}, indent=2)
                options.out.write_text(text + "\n", encoding="utf-8")
    return 1 if any(outcome.broken for outcome in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
