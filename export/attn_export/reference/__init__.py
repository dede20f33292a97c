"""PyTorch's side of the proof: at which shapes it is asked, and what it answered."""
