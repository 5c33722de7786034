"""EvoKD: the teacher studies the mistakes of the student and writes new examples."""
