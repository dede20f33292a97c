"""Compile a typed ONNX graph into an engine, in a child process."""
