"""Draws the main results of LLKD from the verdicts of llkd_table_main.sh.

python reproduce/llkd_table_main.py [multirun_sweeps/reproduce-llkd-cpu]
"""

from tutelage.reproduce.figures import main

if __name__ == "__main__":
    main("llkd", "main")
