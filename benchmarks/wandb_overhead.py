"""Question: how much does logger=wandb slow a run down?

    python benchmarks/wandb_overhead.py [--pairs 3] [-- OVERRIDES…]

The same run without (A) and with (B) the mirror, in turns A B A B. A first turn fills the cache, so
that no timed turn waits for a teacher, and a round takes a fraction of a real one. Printed: seconds
per round in both, and their ratio; the time that the run itself waits for the mirror, at its start
and its end; and the processor time of the mirror's process.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tutelage.config.compose import compose_config
from tutelage.run import run
from tutelage.terminal import TerminalProgress
from tutelage.tracking.wandb_process import WandbMirror

waited: list[float] = []


class TimedMirror(WandbMirror):
    """The mirror, which notes the seconds that the run waits for it."""

    def __enter__(self) -> WandbMirror:
        """Starts the mirror."""
        began = time.perf_counter()
        super().__enter__()
        waited.append(time.perf_counter() - began)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the mirror."""
        began = time.perf_counter()
        super().__exit__(kind, error, trace)
        waited.append(time.perf_counter() - began)


def turn(folder: Path, overrides: list[str]) -> tuple[float, float, int, int]:
    """Does one run.

    Returns:
        Seconds, processor seconds of child processes, number of stages, and computed tokens.
    """
    config = compose_config(overrides)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with TerminalProgress(0, None) as reporter:
        result = run(config, folder, reporter, "", resume=False)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    beside = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    return seconds, beside, result["rounds"] + 2, result["tokens"]["spent"]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    # The configuration names the class by its module, which runs as __main__ here.
    sys.modules.setdefault("wandb_overhead", sys.modules[__name__])
    mirror = ["logger=wandb", "logger.wandb._target_=wandb_overhead.TimedMirror"]
    plain, mirrored, beside = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        turn(Path(scratch) / "warm", options.overrides)
        for pair in range(options.pairs):
            for name, times, more in (("plain", plain, []), ("mirrored", mirrored, mirror)):
                seconds, child, stages, spent = turn(
                    Path(scratch) / f"{name}-{pair}", [*options.overrides, *more]
                )
                if spent:
                    sys.exit(
                        f"{spent} tokens were computed in a timed turn, because the cache lacked "
                        "replies. Leave teacher.cache at its default."
                    )
                times.append(seconds / stages)
                if more:
                    beside.append(child / stages)
    ratios = [with_mirror / without for without, with_mirror in zip(plain, mirrored, strict=True)]
    starts, ends = waited[::2], waited[1::2]
    print(
        f"a round without   {statistics.median(plain):.2f} s   "
        f"with {statistics.median(mirrored):.2f} s   (medians of {options.pairs})"
    )
    pairs = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"ratio             {statistics.median(ratios):.3f}   pairs {pairs}")
    print(
        f"the run waits     {1e3 * statistics.median(starts):.0f} ms at its start, "
        f"{1e3 * statistics.median(ends):.0f} ms at its end"
    )
    print(
        f"mirror's process  {1e3 * statistics.median(beside):.0f} ms of processor time per round, "
        "at the lowest priority"
    )
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores")


if __name__ == "__main__":
    main()
