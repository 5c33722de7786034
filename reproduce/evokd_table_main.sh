#!/usr/bin/env bash
# The main results of EvoKD (Liu et al. 2024, arXiv 2403.06414): runs, verdicts and a figure.
#   bash reproduce/evokd_table_main.sh               small models, shipped data
#   SCALE=full bash reproduce/evokd_table_main.sh    the paper's scale: a GPU with 80 GB, the hub
cd "$(dirname "$0")/.." && PATH="$PWD/.venv/bin:$PATH"
tutelage reproduce evokd --table main --scale "${SCALE:-cpu}"; code=$?
python reproduce/evokd_table_main.py "multirun_sweeps/reproduce-evokd-${SCALE:-cpu}" && exit "$code"
