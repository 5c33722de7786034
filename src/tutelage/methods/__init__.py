"""Methods, one per paper: each turns feedback about the student into new rows for the pool."""
