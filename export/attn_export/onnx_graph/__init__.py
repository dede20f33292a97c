"""Facts and edits of an ONNX file."""
