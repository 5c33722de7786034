"""Lightning callbacks. Together they turn one ``Trainer.fit`` into a growing run."""
