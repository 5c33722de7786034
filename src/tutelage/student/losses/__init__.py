"""Losses per text or word, for learning from noisy teachers."""
