"""Losses of one row or word each, for learning from noisy teachers; the student weighs and averages them."""
