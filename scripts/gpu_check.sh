#!/usr/bin/env bash
# Tries on a machine with a GPU what cannot be tried without one, in some ten minutes.
#   bash scripts/gpu_check.sh [FOLDER]      results in FOLDER (default outputs/gpu_check)
#   DRY=1 bash scripts/gpu_check.sh         only composes the runs; needs no GPU
#
# Sets up unless .venv is there, then: what this machine has; both demos (teacher and student on one
# GPU); the teacher asleep while the student trains; bfloat16 with one GPU for the engine (tensor
# parallel 1); the student on the CPU beside a teacher on the GPU. Each step has a time limit, and
# one that fails does not stop the others. FOLDER/summary.tsv has exit status, seconds, highest use
# of GPU memory, and the headline metric of each; FOLDER/NAME.log has its output.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-outputs/gpu_check}
mkdir -p "$folder"
bin=${BIN:-.venv/bin} # of the environment
[ -x "$bin/tutelage" ] || bash scripts/setup.sh
tutelage=$bin/tutelage
summary=$folder/summary.tsv
printf 'step\tstatus\tseconds\tGPU MiB\tbefore\tafter\n' >"$summary"
failed=0

# The GPU memory in use, once a second, until the step ends.
watch_memory() {
  while sleep 1; do
    nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits 2>/dev/null | head -n 1 || true
  done >"$1"
}

# step NAME SECONDS COMMAND…: runs it, and adds a line to the summary.
step() {
  local name=$1 limit=$2 began status=0 watcher most scores
  shift 2
  began=$(date +%s)
  watch_memory "$folder/$name.memory" &
  watcher=$!
  timeout --kill-after=10 "$limit" "$@" >"$folder/$name.log" 2>&1 || status=$?
  kill "$watcher" 2>/dev/null || true
  wait "$watcher" 2>/dev/null || true
  most=$(sort -n "$folder/$name.memory" | tail -n 1)
  scores=$("$bin/python" - "$folder/$name/result.json" <<'PYTHON'
import json, pathlib, sys

path = pathlib.Path(sys.argv[1])
if path.exists():
    result = json.loads(path.read_text())
    found = [next(iter((result.get(when) or {}).values()), None) for when in ("before", "after")]
    print("\t".join("" if one is None else f"{one:.3f}" for one in found))
else:
    print("\t")
PYTHON
  )
  printf '%s\t%s\t%s\t%s\t%s\n' \
    "$name" "$status" "$(($(date +%s) - began))" "${most:-}" "$scores" | tee -a "$summary"
  [ "$status" = 0 ] || failed=1
}

# run NAME SECONDS OVERRIDES…: trains in FOLDER/NAME, or only composes the run if DRY is set.
run() {
  local name=$1 limit=$2
  shift 2
  if [ -n "${DRY:-}" ]; then
    step "$name" "$limit" "$tutelage" train "$@" --cfg job
  else
    step "$name" "$limit" "$tutelage" train "$@" "hydra.run.dir=$folder/$name"
  fi
}

[ -n "${DRY:-}" ] || step doctor 60 "$tutelage" doctor
small=(budget.tokens=6000 method.rounds=2 logger=none evaluate.teacher=false)
run demo 150 experiment=quickstart_cls logger=none
run demo_ner 150 experiment=quickstart_ner logger=none
# vLLM refuses to sleep on a CPU, so a dry run composes this one, too, without an engine.
run asleep 120 experiment=quickstart_cls teacher.lifecycle=sleep "${small[@]}"
run bfloat16 100 experiment=quickstart_cls teacher.dtype=bfloat16 \
  teacher.engine.tensor_parallel_size=1 "${small[@]}"
run student_on_cpu 120 experiment=quickstart_cls trainer.accelerator=cpu "${small[@]}"

echo "Written: $summary"
exit "$failed"
