"""Question: how long does an acquire selector take to choose 100 of a million texts?

    pip install --no-deps --target /tmp/small-text small-text==1.4.1
    python benchmarks/selector_cost.py --small-text /tmp/small-text [--sizes 10000 100000]

Synthetic probabilities (7 classes), embeddings (384 wide, in 50 clusters) and 100 labelled rows,
the same for both libraries. Every measurement is a process of its own: seconds of one choice, and
peak memory above the level before it (arrays and imports). small-text 1.4.1 gets the same arrays
through a classifier that returns them, so neither library runs a model; "same" is the number of its
100 texts that we choose as well. Its BADGE has a seed of its own, and is left out if its gradients
do not fit into memory. small-text cannot be a development dependency: its wheel has a top-level
package ``tests``, which would hide ours.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import psutil

CLASSES, WIDTH, LABELLED, WANTED, CLUSTERS = 7, 384, 100, 100, 50
OURS = (
    "random",
    "entropy",
    "margin",
    "least_confidence",
    "k_means",
    "k_center",
    "badge",
    "dropout",
    "accept_reject",
    "mixed",
)
SHARED = ("random", "entropy", "margin", "least_confidence", "k_means", "k_center", "badge")
CONF = Path(__file__).parents[1] / "conf" / "acquire"


class Arrays:
    """A pool view of arrays; dropout passes cost nothing here, so only the choice is timed."""

    def __init__(self, total: int) -> None:
        rng = np.random.default_rng(17)
        logits = rng.standard_normal((total, CLASSES), dtype=np.float32) * rng.uniform(
            0.2, 4, (total, 1)
        ).astype(np.float32)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        self._probabilities = logits
        centres = rng.standard_normal((CLUSTERS, WIDTH), dtype=np.float32)
        self._embeddings = np.empty((total, WIDTH), dtype=np.float32)
        for start in range(0, total, 10_000):
            block = self._embeddings[start : start + 10_000]
            rng.standard_normal(dtype=np.float32, out=block)
            block += centres[rng.integers(CLUSTERS, size=len(block))]
        self._labelled = rng.standard_normal((LABELLED, WIDTH), dtype=np.float32)
        self.texts = range(total)

    def probabilities(self) -> Any:
        """The distributions, [N, C]."""
        return self._probabilities

    def uncertainty(self, kind: Any) -> Any:
        """Computed for each choice, and timed with it, [N]."""
        from tutelage.selectors.measures import uncertainty_of

        return uncertainty_of(self._probabilities, kind)

    def embeddings(self) -> Any:
        """The embeddings, [N, D]."""
        return self._embeddings

    def labelled_embeddings(self) -> Any:
        """The embeddings of the labelled rows, [M, D]."""
        return self._labelled

    def disagreement(self, passes: int) -> Any:
        """Arbitrary numbers, [N]."""
        return self._probabilities[:, 0]


class Given:
    """A classifier and data set of small-text in one: returns the arrays for any part of it."""

    def __init__(self, view: Arrays) -> None:
        self._view = view

    def predict_proba(self, dataset: Any) -> Any:
        """The distributions, [N, C]."""
        return self._view.probabilities()

    def __getitem__(self, indices: Any) -> Given:
        """Returns itself."""
        return self

    def __len__(self) -> int:
        """The number of texts."""
        return len(self._view.texts)


def ours(name: str, view: Arrays) -> Any:
    """Our choice as a function without arguments."""
    import sklearn.cluster  # noqa: F401
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    selector = instantiate(OmegaConf.load(CONF / f"{name}.yaml"))
    return lambda: selector.query(view, WANTED, np.random.default_rng(5)).indices


def theirs(name: str, view: Arrays) -> Any:
    """small-text's choice as a function without arguments."""
    import sklearn.cluster  # noqa: F401
    from small_text import query_strategies as all_of_them
    from small_text.integrations.pytorch.query_strategies import BADGE

    strategies = {
        "random": lambda: all_of_them.RandomSampling(),
        "entropy": lambda: all_of_them.PredictionEntropy(),
        "margin": lambda: all_of_them.BreakingTies(),
        "least_confidence": lambda: all_of_them.LeastConfidence(),
        "k_means": lambda: all_of_them.EmbeddingKMeans(normalize=False),
        "k_center": lambda: all_of_them.GreedyCoreset(distance_metric="euclidean", normalize=False),
        "badge": lambda: BADGE(CLASSES),
    }
    np.random.seed(5)
    strategy, predicted, pool = strategies[name](), Given(view), np.arange(len(view.texts))
    if name not in ("k_means", "k_center", "badge"):
        return lambda: strategy.query(
            predicted, predicted, pool, np.array([], dtype=int), np.array([]), n=WANTED
        )
    # Before the clock starts.
    both = np.concatenate([view.embeddings(), view.labelled_embeddings()])
    labelled = np.arange(len(pool), len(pool) + LABELLED)
    return lambda: strategy.query(
        predicted, predicted, pool, labelled, np.zeros(LABELLED), n=WANTED, embeddings=both
    )


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )


def measure(library: str, name: str, total: int) -> None:
    """Makes one choice in a child process and prints a line of JSON."""
    warnings.simplefilter("ignore")
    choose = (ours if library == "tutelage" else theirs)(name, Arrays(total))
    before, started = resident(), time.perf_counter()
    indices = choose()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # If making the arrays had the higher peak, this is an upper bound.
    print(
        json.dumps(
            {
                "seconds": seconds,
                "gigabytes": (peak - before) / 1e9,
                "indices": [int(index) for index in indices],
            }
        )
    )


def measured(
    library: str, name: str, total: int, limit: float, folder: str
) -> dict[str, Any] | None:
    """Measures in a child process.

    Returns:
        The child's result; None if it took too long; only "needs" (GB) if memory would not do.
    """
    # small-text's BADGE stores the gradients.
    needs = total * CLASSES * WIDTH * 8 if (library, name) == ("small-text", "badge") else 0
    if needs > 0.7 * psutil.virtual_memory().available:
        return {"needs": needs / 1e9}
    path = (
        os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
        if library == "small-text"
        else None
    )
    environment = {**os.environ, **({"PYTHONPATH": path} if path else {})}
    command = [sys.executable, __file__, "--child", library, name, str(total)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise SystemExit(f"{library} {name} at {total} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measures everything and prints a table, each line as soon as it is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--small-text",
        default="",
        help="folder with small-text 1.4.1; without it only our selectors are measured",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=300,
        help="seconds until a measurement is given up, arrays included",
    )
    parser.add_argument("--only", nargs="+", default=list(OURS), help="strategies")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        measure(given.child[0], given.child[1], int(given.child[2]))
        return
    print(
        "| texts | selector | seconds | GB above | small-text: seconds | GB above "
        f"| same of {WANTED} |\n|--:|---|--:|--:|--:|--:|--:|"
    )
    for total in given.sizes:
        for name in given.only:
            own = measured("tutelage", name, total, given.limit, "")
            other = (
                measured("small-text", name, total, given.limit, given.small_text)
                if given.small_text and name in SHARED
                else {}
            )
            same = (
                len({*own["indices"]} & {*other["indices"]})
                if own and other and "indices" in other
                else "–"
            )
            print(
                f"| {total:,} | {name} | {cells(own, given.limit)} "
                f"| {cells(other, given.limit)} | {same} |",
                flush=True,
            )


def cells(found: dict[str, Any] | None, limit: float) -> str:
    """Cells with seconds and gigabytes; {} was not measured, None took too long."""
    if found and "needs" in found:
        return f"not run | needs {found['needs']:.1f}"
    if found is None:
        return f"over {limit:g} | –"
    return f"{found['seconds']:.2f} | {found['gigabytes']:.2f}" if found else "– | –"


if __name__ == "__main__":
    main()
