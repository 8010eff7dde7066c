"""Embeddings on disk: what encoders made of items, and what stands for these in a prompt."""
