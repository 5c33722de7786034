"""Draws the main results of EvoKD from the verdicts of evokd_table_main.sh.

python reproduce/evokd_table_main.py [multirun_sweeps/reproduce-evokd-cpu]
"""

from tutelage.reproduce.figures import main

if __name__ == "__main__":
    main("evokd", "main")
