"""What is held against work that may be ending processes: for every role and for the client."""
