"""Kernels in C++ for work on a CPU that torch has no operation for; without a compiler, torch's own
do it."""
