"""Draws the ablations of LLKD from the verdicts of llkd_ablations.sh.

python reproduce/llkd_ablations.py [multirun_sweeps/reproduce-llkd-cpu]
"""

from tutelage.reproduce.figures import main

if __name__ == "__main__":
    main("llkd", "ablations")
