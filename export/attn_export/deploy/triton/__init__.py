"""A bundle into a Triton model repository."""
