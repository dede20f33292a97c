"""Attention in a graph: where it is, of what kind, and what it must become so that TensorRT fuses it."""
