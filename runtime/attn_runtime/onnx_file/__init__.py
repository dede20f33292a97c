"""An ONNX file, read without onnx."""
