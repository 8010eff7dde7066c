"""Over many engines, by Ray: whole engines as replicas of a service, and as workers of batches."""
