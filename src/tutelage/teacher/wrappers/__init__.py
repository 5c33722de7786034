"""Wrappers around an engine: reply cache, transcript and token budget."""
