"""The student: an encoder with a head, its loss, its learning-rate schedule, and the LightningModule around them."""
