"""What is held against work that may be ending processes, and what makes two works the same."""
