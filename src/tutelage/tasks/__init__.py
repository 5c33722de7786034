"""Tasks: each knows its label space and metrics, and nothing of models or teachers."""
