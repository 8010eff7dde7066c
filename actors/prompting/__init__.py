"""From a request's prompt to text and tokens: for the preprocessor, and in a worker for a caller's
own template."""
