"""What is held against PyTorch, and what counts as equal."""
