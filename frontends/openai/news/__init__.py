"""What the text of an answer says: thinking, words and calls."""
