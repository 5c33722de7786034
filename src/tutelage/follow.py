"""A device of the student but the first: it follows rank 0 through one fit.

    python -m tutelage.follow

:mod:`tutelage.followers` starts it, and writes an order to its standard input.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable

from tutelage.followers import Order
from tutelage.interruption import stop_signals


def main() -> None:
    """Reads the order and follows it; ends with the run's process, whatever happens to that."""
    # Ctrl-C is for rank 0, which ends the others.
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)
    # Standard output says once that this process is ready; whatever prints goes to the other one.
    ready = os.dup(1)
    os.dup2(2, 1)
    with open(0, "rb", closefd=False) as orders:
        # Added at the end, so that no file there shadows an installed package.
        sys.path += [folder for folder in pickle.load(orders) if folder not in sys.path]
        order = pickle.load(orders)
    threading.Thread(target=_end_with_the_run, daemon=True).start()

    def on_ready() -> None:
        os.write(ready, b".")
        os.close(ready)

    follow(order, on_ready)


def _end_with_the_run() -> None:
    # Nothing more is written: the read returns when the other end is closed.
    os.read(0, 1)
    os._exit(1)


def follow(order: Order, on_ready: Callable[[], None]) -> None:
    """Trains the share of one rank, from the first epoch to the last.

    Args:
        order: What rank 0 has settled before.
        on_ready: Called when everything is built.
    """
    from tutelage.callbacks.devices import FollowDevices
    from tutelage.callbacks.housekeeping import Reseed
    from tutelage.config.build import set_threads
    from tutelage.config.build_fit import growing_data, round_view
    from tutelage.config.build_student import build_student
    from tutelage.data.pool import PoolCopy
    from tutelage.trainer import be_quiet, build_trainer, fit_module

    config, ranks = order.config, order.ranks
    be_quiet()
    set_threads(config)
    pool = PoolCopy(order.rows)
    module, tokenizer = build_student(config, order.task, ranks)
    view = round_view(config, order.source)
    data = growing_data(config, order.task, pool, tokenizer, view, ranks=ranks)
    trainer = build_trainer(
        config,
        [Reseed(config.seed, ranks.rank), FollowDevices(ranks, view, pool)],
        ranks=ranks,
        port=order.port,
    )
    on_ready()
    fit_module(trainer, module, data, order.checkpoint)
    ranks.close()


if __name__ == "__main__":
    main()
