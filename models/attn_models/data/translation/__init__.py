"""English sentences with their French translations, written by a grammar."""

__all__ = ["text"]
