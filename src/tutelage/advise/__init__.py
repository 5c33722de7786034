"""Which method to run on given data, teacher and budget: ``tutelage advise``."""
