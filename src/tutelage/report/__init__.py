"""Figures and a self-contained HTML report of a run, drawn from the run folder alone."""
