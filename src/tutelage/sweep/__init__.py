"""Many runs: each job in a process of its own, one teacher for all of them, and nothing done twice."""
