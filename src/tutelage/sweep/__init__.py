"""Many runs: every job in its own process, one teacher for all of them, nothing done twice."""
