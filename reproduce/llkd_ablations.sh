#!/usr/bin/env bash
# The ablations of LLKD (Li et al. 2025, arXiv 2411.08028): runs, verdicts and a figure.
#   bash reproduce/llkd_ablations.sh               small models, shipped data
#   SCALE=full bash reproduce/llkd_ablations.sh    the paper's scale: a GPU with 40 GB, the hub
cd "$(dirname "$0")/.." && PATH="$PWD/.venv/bin:$PATH"
tutelage reproduce llkd --table ablations --scale "${SCALE:-cpu}"; code=$?
python reproduce/llkd_ablations.py "multirun_sweeps/reproduce-llkd-${SCALE:-cpu}" && exit "$code"
