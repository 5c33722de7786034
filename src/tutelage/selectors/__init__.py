"""Selectors choose: here, which generated rows a run may train on."""
