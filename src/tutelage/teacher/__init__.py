"""The teacher: engines behind one protocol, plain wrappers around them, scoring, calibration and prompts.

Nothing outside this package imports vllm.
"""
