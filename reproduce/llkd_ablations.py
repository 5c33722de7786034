"""Draws the ablations of LLKD from the verdicts that llkd_ablations.sh leaves.

python reproduce/llkd_ablations.py [multirun_sweeps/reproduce-llkd-cpu]
"""

from tutelage.reproduce.figures import main

if __name__ == "__main__":
    main("llkd", "ablations")
