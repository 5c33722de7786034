"""LLM-DA."""
