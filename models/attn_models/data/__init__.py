"""What the reference models are trained on: made from a seed, or shipped with a package."""
