"""The reference models, one file each, and their training."""
