#!/usr/bin/env bash
# The claims of EvoKD's and LLKD's relatives: runs, verdicts and a figure.
#   bash reproduce/relatives_table_main.sh               small models, shipped data
#   SCALE=sets bash reproduce/relatives_table_main.sh    six sets, five of them below data
cd "$(dirname "$0")/.." && PATH="$PWD/.venv/bin:$PATH"
tutelage reproduce relatives --table main --scale "${SCALE:-cpu}"; code=$?
python reproduce/relatives_table_main.py "multirun_sweeps/reproduce-relatives-${SCALE:-cpu}" && exit "$code"
