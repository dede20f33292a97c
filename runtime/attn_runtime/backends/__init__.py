"""One file per backend; a file here is registered by its name."""
