"""From Hydra to plain objects: the only package that sees a DictConfig."""
