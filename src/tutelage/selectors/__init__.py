"""Selectors for the three stages of a run: acquire, accept and train.

They choose the texts the teacher labels, the generated texts that become training rows, and the
rows each optimizer step learns from.
"""
