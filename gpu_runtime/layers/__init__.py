"""Layers that every decoder is made of, transformers' own and the fused one alike."""
