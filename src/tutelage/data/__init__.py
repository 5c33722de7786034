"""Data sources, cleaning, de-duplication, the pool, and data loaders that grow with it."""
