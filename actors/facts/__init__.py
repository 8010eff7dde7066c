"""The process that finds out what the model is, when an engine starts."""
