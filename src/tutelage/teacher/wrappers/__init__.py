"""Wrappers around an engine: cache, budget, transcript."""
