"""/rerank and /score."""
