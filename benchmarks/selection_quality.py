"""Question: how many steps does a train selector leave, and how many of its kept labels are right?

    python benchmarks/selection_quality.py multirun_sweeps/llkd_arms/*/*

For each run with a train selector, from its selection.jsonl: optimizer steps, and the share of
correct labels among the rows offered and among the rows kept. Pool texts with a gold label count.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runs import read_lines


def main() -> None:
    """Prints one line per run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    for run in parser.parse_args().runs:
        path = run / "selection.jsonl"
        lines = read_lines(path) if path.exists() else []
        if not lines:
            continue
        offered, kept = (
            100
            * sum(line[name][0] for line in lines)
            / max(1, sum(line[name][1] for line in lines))
            for name in ("right_of_seen", "right_of_kept")
        )
        print(
            f"{run}   {lines[-1]['updates']} steps   right of rows offered {offered:.1f} %, "
            f"kept {kept:.1f} %"
        )


if __name__ == "__main__":
    main()
