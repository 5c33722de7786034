"""A process with all imports done that forks a child per command, so tests can kill runs cheaply.

    python -m tests.helpers.warm_process

It reads JSON lines. ``{"argv": [...], "folder": cwd, "environment": {...}, "printed": path}``
starts ``tutelage argv`` and answers ``{"pid": n}``. ``{"wait": n}`` waits for that child and
answers ``{"code": exit code}``, which is negative for a signal.
"""

from __future__ import annotations

import contextlib
import json
import os
import pkgutil
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.helpers import tiny
from tests.helpers.composing import compose_defaults_once


def stop_at(folder: Path, number: int) -> None:
    """Kills this process (SIGKILL) before its file operation ``number`` below ``folder``.

    Counted are files opened for writing, renamed or removed, and folders made or removed; 0 counts
    only. The count is kept in the file "operations" in the folder.
    """
    count = 0
    log = os.open(folder / "operations", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
            path = arguments[0]
        else:
            return
        path = os.path.abspath(os.fsdecode(path))
        if not path.startswith(f"{folder}{os.sep}"):
            return
        count += 1
        os.pwrite(log, f"{count:9d}".encode(), 0)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def child(command: dict[str, Any]) -> None:
    from tutelage.cli import main

    os.chdir(command["folder"])
    os.environ.update(command["environment"])
    printed = os.open(command["printed"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    code = 1
    if "STOP_AT" in os.environ:
        stop_at(Path(command["folder"]), int(os.environ["STOP_AT"]))
    try:
        main(command["argv"])
    except SystemExit as ending:
        code = int(ending.code or 0)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    import torch
    from transformers.models.bert import modeling_bert

    import tutelage
    from tutelage.config.compose import compose_config
    from tutelage.report import html

    # Import everything once, so that no child has to.
    for module in pkgutil.walk_packages(tutelage.__path__, "tutelage."):
        if not module.name.endswith(("vllm_child", "wandb_child", "cli")):
            import_module(module.name)
    import_module("pytorch_lightning.callbacks")
    import_module("sklearn.metrics")
    modeling_bert.BertModel(
        modeling_bert.BertConfig(
            hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
        )
    )
    compose_defaults_once()
    compose_config(["data=files", "data.path=none", "teacher=local", "seed=1", "method.rounds=1"])
    torch.set_num_threads(1)
    html.write_report = tiny.skip_report
    print("{}", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            _, status = os.waitpid(command["wait"], 0)
            print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            child(command)
        print(json.dumps({"pid": pid}), flush=True)


if __name__ == "__main__":
    serve()
