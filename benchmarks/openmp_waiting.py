"""Question: how fast do student and engine run with spinning and with sleeping OpenMP threads?

    python benchmarks/openmp_waiting.py                 the student: MiniLM, batches of 16, in turns
    python benchmarks/openmp_waiting.py --engine        vLLM on the embedded teacher as well
    python benchmarks/openmp_waiting.py --neighbour     beside a process that keeps one core busy

Each setting runs in a process of its own, which does not import tutelage, so that the first row is
what OpenMP does by default. Medians over the turns; ratios are to the first row.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"},
    "passive, short spin": {
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "GOMP_SPINCOUNT": "2000",
    },
    "one thread": {"OMP_NUM_THREADS": "1"},
    "passive, one thread": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
}

_STUDENT = """
import time, torch
from transformers import AutoModel
model = AutoModel.from_pretrained({folder!r}).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
ids = torch.randint(1000, 2000, (16, 24))
def step():
    optimizer.zero_grad()
    model(input_ids=ids).last_hidden_state.mean().backward()
    optimizer.step()
step()
began = time.perf_counter()
for _ in range({steps}):
    step()
print("rate", {steps} / (time.perf_counter() - began))
"""

_ENGINE = """
import os, time
os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_OMP_THREADS_BIND="nobind",
                  VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1", HF_HUB_OFFLINE="1",
                  VLLM_LOGGING_LEVEL="ERROR")
from vllm import LLM, SamplingParams
llm = LLM({folder!r}, dtype="float32", max_model_len=512, block_size=32, disable_log_stats=True)
prompts = ["A short request about number %d:" % n for n in range(32)]
sampling = SamplingParams(max_tokens=24, temperature=0.8, ignore_eos=True, seed=1)
llm.generate(prompts[:2], sampling, use_tqdm=False)
began = time.perf_counter()
llm.generate(prompts, sampling, use_tqdm=False)
print("rate", 32 * 24 / (time.perf_counter() - began))
"""


def rate(script: str, setting: dict[str, str]) -> float:
    """Runs a script under a setting and returns the rate that it prints."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, **setting},
        capture_output=True,
        text=True,
        check=True,
    )
    return next(float(one.split()[1]) for one in done.stdout.splitlines() if "rate" in one)


def table(title: str, unit: str, script: str, turns: int) -> dict[str, float]:
    """Prints a table of medians and returns them by setting."""
    rates: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for _ in range(turns):
        for name, setting in SETTINGS.items():
            rates[name].append(rate(script, setting))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    print(f"{title}, median of {turns}\n{'setting':22} {unit:>10}  ratio", flush=True)
    for name, median in medians.items():
        print(f"{name:22} {median:10.2f}  {median / medians['default']:5.2f}")
    return medians


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--engine", action="store_true")
    parser.add_argument("--neighbour", action="store_true")
    options = parser.parse_args()
    from tutelage.assets import ensure_asset

    neighbour = None
    if options.neighbour:
        neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        found = {}
        student = _STUDENT.format(folder=str(ensure_asset("student")), steps=options.steps)
        found["student"] = table("student", "steps/s", student, options.turns)
        if options.engine:
            engine = _ENGINE.format(folder=str(ensure_asset("teacher")))
            found["engine"] = table("engine", "tokens/s", engine, max(1, options.turns // 2))
        print(json.dumps({"neighbour": options.neighbour, **found}))
    finally:
        if neighbour is not None:
            neighbour.kill()


if __name__ == "__main__":
    main()
