"""What callers give (prompts, messages, media, embeddings), read, checked and submitted."""
