"""/v1/files: upload once, refer by id."""
