"""Graphs in fewer bits: converted, and proven against PyTorch's answers."""
