"""Question: how fast do student and engine run with spinning and with sleeping OpenMP threads?

    python benchmarks/openmp_waiting.py                 the student: MiniLM, batches of 16, in turns
    python benchmarks/openmp_waiting.py --engine        vLLM on the embedded teacher instead
    python benchmarks/openmp_waiting.py --engine --model FOLDER       on another teacher
    python benchmarks/openmp_waiting.py --neighbours 2  beside processes that keep two cores busy

Each setting runs in a process of its own, which does not import tutelage, so that the first row is
what OpenMP does by default. Medians over the turns; ratios are to the first row. The engine writes
(decode: 32 texts of 16 tokens) and scores (prefill: 24 prompts of some 100 tokens).
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

_PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}

ENGINE_SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "passive": _PASSIVE,
    "block for 1 ms": {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "1"},
    "passive, one thread": {**_PASSIVE, "OMP_NUM_THREADS": "1"},
    "passive, pinned": {**_PASSIVE, "VLLM_CPU_OMP_THREADS_BIND": "auto"},
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
print("rate steps/s", {steps} / (time.perf_counter() - began))
"""

_ENGINE = """
import time
from vllm import LLM, SamplingParams
llm = LLM({folder!r}, dtype="float32", max_model_len=512, block_size=32, disable_log_stats=True,
          enforce_eager=True, enable_chunked_prefill=False, max_num_batched_tokens=4096,
          kv_cache_memory_bytes=2**29)
score = SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=[500, 501, 502])
def rate(prompts, sampling):
    began = time.perf_counter()
    made = llm.generate(prompts, sampling, use_tqdm=False)
    seconds = time.perf_counter() - began
    read = sum(len(one.prompt_token_ids) for one in made)
    written = sum(len(one.outputs[0].token_ids) for one in made)
    return (read if sampling is score else written) / seconds
def texts(turn, count):
    write = SamplingParams(max_tokens=16, temperature=0.8, ignore_eos=True, seed=1)
    return rate(["Turn %d, a request about number %d:" % (turn, n) for n in range(count)], write)
def scores(turn, count):
    tail = "the day was long and the night was short and so on " * 8
    return rate(["Turn %d, number %d: %s" % (turn, n, tail) for n in range(count)], score)
texts(0, 4), scores(0, 4)
print("rate decode", texts(1, 32))
print("rate prefill", scores(1, 24))
"""

ENGINE_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


def rates(script: str, setting: dict[str, str]) -> dict[str, float]:
    """Runs a script in an environment and returns its printed rates by name."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, **setting},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("rate ")]
    return {name: float(value) for _, name, value in lines}


def table(
    title: str, script: str, settings: dict[str, dict[str, str]], turns: int
) -> dict[str, dict[str, float]]:
    """Prints a table of medians and returns them by setting."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in settings}
    for _ in range(turns):
        for name, setting in settings.items():
            found[name].append(rates(script, setting))
    medians = {
        name: {kind: statistics.median(one[kind] for one in several) for kind in several[0]}
        for name, several in found.items()
    }
    kinds = list(medians["default"])
    print(
        f"{title}, median of {turns}\n{'setting':22} " + "".join(f"{k:>10}  ratio" for k in kinds)
    )
    for name, median in medians.items():
        shown = "".join(
            f"{median[kind]:10.2f}  {median[kind] / medians['default'][kind]:5.2f}"
            for kind in kinds
        )
        print(f"{name:22} {shown}", flush=True)
    return medians


def engine_environment() -> dict[str, str]:
    """Environment of the engine under every setting: it loads Intel's OpenMP, as in a run."""
    from tutelage.teacher.engines.hardware import child_environment, vllm_hardware

    made = child_environment(vllm_hardware()[0], offline=True)
    return {**ENGINE_ENVIRONMENT, "LD_PRELOAD": made.get("LD_PRELOAD", "")}


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--engine", action="store_true")
    parser.add_argument("--model", default="", help="folder of the engine's model")
    parser.add_argument("--neighbours", type=int, default=0)
    options = parser.parse_args()
    from tutelage.assets import ensure_asset

    busy = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(busy) for _ in range(options.neighbours)]
    try:
        if options.engine:
            folder = options.model or str(ensure_asset("teacher"))
            always = engine_environment()
            settings = {name: {**always, **one} for name, one in ENGINE_SETTINGS.items()}
            found = table("engine", _ENGINE.format(folder=folder), settings, options.turns)
        else:
            student = _STUDENT.format(folder=str(ensure_asset("student")), steps=options.steps)
            found = table("student", student, SETTINGS, options.turns)
        print(json.dumps({"neighbours": options.neighbours, "rates": found}))
    finally:
        for neighbour in neighbours:
            neighbour.kill()


if __name__ == "__main__":
    main()
