"""Grow a training set from a local LLM teacher while a small student learns from it."""

__version__ = "0.1.0"
