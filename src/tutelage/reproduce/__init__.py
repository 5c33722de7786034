"""The papers' claims as data, the runs that would show them, and a verdict on each."""
