"""/v1/batches: many requests in a file, answered behind everybody who waits for an answer."""
