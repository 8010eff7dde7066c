"""Who may connect, and what is judged by the head of a request."""
