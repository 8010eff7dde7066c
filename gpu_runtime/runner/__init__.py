"""One step after another: what a plan says is computed, and what comes of it is answered."""
