"""Attention on a GPU by Triton's kernels, which are compiled there. Only `kernels.py` imports
triton."""
