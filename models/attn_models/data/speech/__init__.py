"""Spoken words: synthesised once, stored, and split for training."""
