"""The engines that answer: vLLM, a server, transformers, a recording."""
