"""The engines: vLLM, an OpenAI-compatible server, transformers, and a recording."""
