"""A model as it is loaded to be run: its decoder, its towers, and how torch computes."""
