"""What the answers of all APIs share: event streams, usage, log-probabilities."""
