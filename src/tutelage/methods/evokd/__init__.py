"""EvoKD."""
