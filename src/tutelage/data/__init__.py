"""Data: sources, cleaning, de-duplication, the pool, and the loaders that grow with it."""
