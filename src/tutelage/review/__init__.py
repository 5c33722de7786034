"""`tutelage review`: people label a sample of a finished run's pool, in Label Studio."""
