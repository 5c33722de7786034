"""Mirrors of a run's folder elsewhere; the folder itself remains the single source of truth."""
