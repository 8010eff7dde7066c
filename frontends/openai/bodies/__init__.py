"""Request bodies: received within limits, and read here or by a process that may be killed."""
