"""How OpenMP threads wait for each other.

Between two parallel regions the threads of OpenMP spin by default. On shared or virtual cores the
spinning takes the processor from the thread that others wait for, and the student trains several
times slower; ``benchmarks/openmp_waiting.py`` prints by how much.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

PASSIVE = {
    # Read by GNU's libgomp (torch) and by Intel's libiomp5 (vLLM on a CPU).
    "OMP_WAIT_POLICY": "PASSIVE",
    # Intel's own name for the same: milliseconds of spinning before a thread sleeps.
    "KMP_BLOCKTIME": "0",
}
"""Environment variables that let waiting threads sleep."""


def wait_passively(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets :data:`PASSIVE` where the user has not set these variables.

    It must run before torch is imported: OpenMP reads its environment once, when it is loaded.
    """
    for name, value in PASSIVE.items():
        environment.setdefault(name, value)
