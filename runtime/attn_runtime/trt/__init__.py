"""Compile a typed ONNX graph into a TensorRT or TensorRT-RTX engine, and know what came out.

flavour     which of the two libraries is here, and its version
network     parse and build, in this process
layers      what the engine is made of, from the build's own list
Nothing here imports torch or onnx: a Jetson builds its own engines with it.
"""
