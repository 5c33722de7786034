"""Selectors choose: what the teacher is asked for, which of its rows a run may train on, and which of these a step learns from."""
