"""`tutelage audit`: suspects among the labels of a finished run."""
