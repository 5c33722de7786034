"""The student: an encoder with a head, its losses, its schedule and its LightningModule."""
