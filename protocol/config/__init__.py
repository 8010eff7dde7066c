"""What a user sets, and what each role gets of it."""
