"""What a caller asks, and what it has become when it is prepared."""
