"""Where the time of each call went: kept for a while, and told to who collects traces."""
