"""Claims of the papers as data, the runs that would show them, and a verdict on each claim."""
