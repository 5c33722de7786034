"""Draws the claims of the relatives from the verdicts of relatives_table_main.sh.

python reproduce/relatives_table_main.py [multirun_sweeps/reproduce-relatives-cpu]
"""

from tutelage.reproduce.figures import main

if __name__ == "__main__":
    main("relatives", "main")
