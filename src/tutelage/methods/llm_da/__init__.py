"""LLM-DA: variants of labelled NER sentences."""
