"""The teacher: engines behind one protocol, the wrappers around them, and the prompts.

Nothing in this package depends on a task, and only ``engines/vllm_child.py`` imports vllm.
"""
