"""The chat templates that are built in, and where a model's own is found."""
