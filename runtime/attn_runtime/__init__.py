"""attn-runtime: open, run, verify and measure bundles. Needs neither torch nor onnx."""

__version__ = "0.1.0"
