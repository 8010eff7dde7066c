"""What the preprocessor and its decode workers agree on about one piece of work."""
