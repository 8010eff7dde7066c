"""From hidden states to vectors, as the checkpoint's files say."""
