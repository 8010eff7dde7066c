"""What callers give, read and checked: prompts, messages, media, embeddings. It becomes a
submission."""
