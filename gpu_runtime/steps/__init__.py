"""What one step consists of: the sequences, their flat batch, the rows of items that are laid over
it."""
