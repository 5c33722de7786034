"""Draws the ablations of EvoKD from the verdicts of evokd_ablations.sh.

python reproduce/evokd_ablations.py [multirun_sweeps/reproduce-evokd-cpu]
"""

from tutelage.reproduce.figures import main

if __name__ == "__main__":
    main("evokd", "ablations")
