"""Where keys, values and recurrent states lie, and how much room there is for them."""
