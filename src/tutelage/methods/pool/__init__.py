"""Methods that label texts of the pool: LLKD, static, LLMaAA, FreeAL."""
