"""What a server keeps on disk for its callers across restarts: uploaded files, answers, batches.
Each entry belongs to one tenant, and is there whole or not at all."""
