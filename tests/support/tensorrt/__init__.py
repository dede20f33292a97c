"""Graphs for TensorRT: what it builds, what it reads otherwise than they say, and networks as its parser left them."""
