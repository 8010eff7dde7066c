"""The faces for Python: `LLM` and `AsyncLLM`, and what they return."""
