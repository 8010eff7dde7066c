"""From a GGUF file to a checkpoint folder around it: configuration and tokenizer out of its
metadata."""
