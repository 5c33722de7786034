"""Warnings about a run's outcome: signs that it did not do what it is for, and what to try.

An advice names only settings that the run's own configuration has.
"""
