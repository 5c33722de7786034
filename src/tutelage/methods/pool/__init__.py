"""Methods that label texts of the unlabelled pool: LLKD, static, LLMaAA, FreeAL, pseudo-labels."""
