"""An nn.Module becomes an ONNX file."""
