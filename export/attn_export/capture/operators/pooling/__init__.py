"""Pooling written out: averages over windows, and the greatest of them; each a file with its `FORM`."""
