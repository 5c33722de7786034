"""`tutelage guarantee`: a confidence threshold and label sets with guarantees, from dev."""
