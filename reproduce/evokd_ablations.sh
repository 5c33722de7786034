#!/usr/bin/env bash
# The ablations of EvoKD (Liu et al. 2024, arXiv 2403.06414): runs, verdicts and a figure.
#   bash reproduce/evokd_ablations.sh               small models, shipped data
#   SCALE=full bash reproduce/evokd_ablations.sh    the paper's scale: a GPU with 80 GB, the hub
cd "$(dirname "$0")/.." && PATH="$PWD/.venv/bin:$PATH"
tutelage reproduce evokd --table ablations --scale "${SCALE:-cpu}"; code=$?
python reproduce/evokd_ablations.py "multirun_sweeps/reproduce-evokd-${SCALE:-cpu}" && exit "$code"
