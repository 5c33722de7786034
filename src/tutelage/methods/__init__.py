"""Methods: each is a paper. Given feedback it asks the teacher and returns rows."""
