"""How OpenMP threads wait for each other.

Between two parallel regions the threads of OpenMP spin by default. On shared or virtual cores the
spinning takes the processor from the thread that others wait for, and the student trains several
times slower. Threads that sleep at once lose a little on quiet cores instead, since waking takes
time. A short spin before sleep is as fast as the default on quiet cores and much faster on busy
ones; ``benchmarks/openmp_waiting.py`` prints by how much.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

WAITING = {
    # For every OpenMP library: threads that wait go to sleep.
    "OMP_WAIT_POLICY": "PASSIVE",
    # GNU's libgomp (torch): turns of spinning before sleep, some microseconds.
    "GOMP_SPINCOUNT": "2000",
    # Intel's libiomp5 (vLLM on a CPU): milliseconds of spinning before sleep.
    "KMP_BLOCKTIME": "0",
}
"""Environment variables that let waiting threads sleep after a short spin."""


def wait_passively(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets :data:`WAITING`, unless the user has chosen a wait policy.

    It must run before torch is imported: OpenMP reads its environment once, when it is loaded.
    """
    if "OMP_WAIT_POLICY" in environment:
        return
    for name, value in WAITING.items():
        environment.setdefault(name, value)
