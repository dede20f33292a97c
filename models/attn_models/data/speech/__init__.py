"""Spoken words: synthesised once, stored, and split for training."""

__all__ = ["espeak", "splits", "stored_words"]
