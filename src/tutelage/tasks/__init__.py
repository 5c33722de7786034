"""Tasks: label spaces, target encoding and metrics, independent of models and teachers."""
