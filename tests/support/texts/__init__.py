"""Models of texts, and folders with tokenizers."""
