"""attn-export: PyTorch attention models to verified bundles."""

__version__ = "0.1.0"
