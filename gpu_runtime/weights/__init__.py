"""Reading a checkpoint's weights: which tensors on disk make which weights of the model, and
filling its modules with them."""
