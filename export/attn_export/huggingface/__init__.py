"""Models that Hugging Face's transformers saved, as modules with declared inputs, and what their folders say of them."""
