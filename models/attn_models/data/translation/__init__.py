"""English sentences with their French translations, written by a grammar."""
